// What kernels share: elements of f32 and bf16, sums and maxima over a warp and over a block in an
// order that depends on nothing but the number of threads.
//
// Included by the sources of kernels/cuda. Thread rule: the functions of a warp or a block are for
// all its threads together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/math.h"
#include "kernels/cuda/launch.h"
#include "kernels/dtype.h"

namespace precis::cuda {

inline constexpr unsigned kWarpLanes = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Round to nearest, ties to even; NaN stays NaN: the bits of kernels/dtype.h.
__device__ __forceinline__ uint16_t RoundToBF16(float value) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ float WidenBF16(unsigned bits) { return __uint_as_float(bits << 16); }

// An array's element type, for kernels that are compiled for each.
struct F32 {
  using Storage = float;
  static __device__ __forceinline__ float Load(float x) { return x; }
  static __device__ __forceinline__ float Store(float x) { return x; }
};
struct BF16 {
  using Storage = uint16_t;
  static __device__ __forceinline__ float Load(uint16_t x) { return WidenBF16(x); }
  static __device__ __forceinline__ uint16_t Store(float x) { return RoundToBF16(x); }
};

template <typename T>
__device__ __forceinline__ T WarpSum(T x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

// NaN if any is.
__device__ __forceinline__ float LargerOrNaN(float a, float b) { return a > b || a != a ? a : b; }
__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    x = LargerOrNaN(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}

// Sum over a block of kThreads; `scratch` holds one value a warp and may be used again after the
// next barrier.
template <unsigned kThreads, typename T>
__device__ __forceinline__ T BlockSum(T x, T* scratch) {
  static_assert(kThreads % kWarpLanes == 0);
  x = WarpSum(x);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = x;
  __syncthreads();
  T sum = scratch[0];
#pragma unroll
  for (unsigned i = 1; i < kThreads / kWarpLanes; ++i) sum += scratch[i];
  return sum;
}

template <unsigned kThreads>
__device__ __forceinline__ float BlockMax(float x, float* scratch) {
  static_assert(kThreads % kWarpLanes == 0);
  x = WarpMax(x);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = x;
  __syncthreads();
  float max = scratch[0];
#pragma unroll
  for (unsigned i = 1; i < kThreads / kWarpLanes; ++i) max = LargerOrNaN(max, scratch[i]);
  return max;
}

constexpr unsigned Blocks(size_t items, size_t per_block) {
  return static_cast<unsigned>(CeilDiv(items, per_block));
}

}  // namespace precis::cuda
