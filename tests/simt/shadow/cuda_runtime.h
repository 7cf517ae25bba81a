// Takes the place of the CUDA toolkit's header where kernels are compiled for the emulator: the
// built-in variables, types and functions that our kernels use, and the few calls of the runtime
// that their launches make. The toolkit is not needed.
//
// Included by kernels/cuda through <cuda_runtime.h>. Thread rule: that of a CUDA thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/simt/block.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
// Of each block its own, as blocks of one OS thread run one after another. The address sanitizer
// puts red zones round `static` only, so that its builds have one worker.
#ifdef PRECIS_SIMT_ASAN
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
  constexpr operator precis::simt::Index3() const { return {x, y, z}; }
};

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

#define threadIdx (::precis::simt::ThreadIndex())
#define blockIdx (::precis::simt::this_block->index())
#define blockDim (::precis::simt::this_block->size())
#define gridDim (::precis::simt::this_block->grid())

#define __syncthreads() ::precis::simt::SyncThreads(__LINE__)
inline void __syncwarp(unsigned mask = ~0u) { ::precis::simt::SyncWarp(mask); }

namespace precis::simt {

// The value of lane `source`; of a lane that is not in the mask poison, as nobody knows it.
template <typename T>
T Shuffle(unsigned mask, T value, int source, bool in_range) {
  static_assert(sizeof(T) <= sizeof(LaneValue));
  LaneValue mine{};
  std::memcpy(mine.bytes, &value, sizeof(T));
  const LaneValue* values = Exchange(mask, mine, "__shfl_sync");
  if (!in_range) return value;
  if ((mask >> source & 1) == 0) {
    std::memset(&value, 0xff, sizeof(T));
  } else {
    std::memcpy(&value, values[source].bytes, sizeof(T));
  }
  return value;
}

}  // namespace precis::simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int first = precis::simt::Lane() & ~(width - 1);
  return precis::simt::Shuffle(mask, value, first + (source & (width - 1)), true);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int source = precis::simt::Lane() ^ bits;
  const int first = precis::simt::Lane() & ~(width - 1);
  return precis::simt::Shuffle(mask, value, source & 31, source < first + width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const int source = precis::simt::Lane() - static_cast<int>(by);
  const int first = precis::simt::Lane() & ~(width - 1);
  return precis::simt::Shuffle(mask, value, source & 31, source >= first);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned votes = 0;
  precis::simt::LaneValue mine{};
  std::memcpy(mine.bytes, &predicate, sizeof(predicate));
  const precis::simt::LaneValue* values = precis::simt::Exchange(mask, mine, "__ballot_sync");
  for (int lane = 0; lane < 32; ++lane) {
    int vote = 0;
    if ((mask >> lane & 1) != 0) std::memcpy(&vote, values[lane].bytes, sizeof(vote));
    if (vote != 0) votes |= 1u << lane;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

template <typename T>
T atomicAdd(T* to, T value) {
  T before = __atomic_load_n(to, __ATOMIC_RELAXED);
  T after = before;
  do {
    after = before + value;
  } while (
      !__atomic_compare_exchange(to, &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline int __float2int_rn(float value) { return static_cast<int>(std::nearbyintf(value)); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
using std::max;
using std::min;

// --- the runtime: tests/simt/runtime.cc
// ----------------------------------------------------------

using cudaStream_t = struct precis_emulated_stream*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorIllegalState = 401,
  cudaErrorIllegalAddress = 700,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureWrongThread = 908,
  cudaErrorGraphExecUpdateFailure = 910,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
};
inline constexpr unsigned cudaStreamNonBlocking = 1;

#define CUDART_VERSION 13000
// What a device is asked of itself: tests/simt/device.cc.
struct cudaDeviceProp {
  char name[256];
  int major, minor;
  size_t totalGlobalMem;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** device, size_t bytes);
cudaError_t cudaFree(void* device);
cudaError_t cudaMallocHost(void** host, size_t bytes);
cudaError_t cudaFreeHost(void* host);
cudaError_t cudaMemsetAsync(void* device, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

// --- graphs: tests/simt/graphs.cc
// -----------------------------------------------------------------

using cudaGraph_t = struct precis_emulated_graph*;
using cudaGraphExec_t = struct precis_emulated_graph_exec*;
using cudaGraphNode_t = struct precis_emulated_graph_node*;

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};
enum cudaGraphExecUpdateResult {
  cudaGraphExecUpdateSuccess = 0,
  cudaGraphExecUpdateError = 1,
  cudaGraphExecUpdateErrorTopologyChanged = 2,
  cudaGraphExecUpdateErrorNodeTypeChanged = 3,
  cudaGraphExecUpdateErrorParametersChanged = 5,
  cudaGraphExecUpdateErrorNotSupported = 6,
};
struct cudaGraphExecUpdateResultInfo {
  cudaGraphExecUpdateResult result;
  cudaGraphNode_t errorNode;
  cudaGraphNode_t errorFromNode;
};

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* result);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
