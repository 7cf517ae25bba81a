#include "tests/simt/runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/simt/launch.h"
#include "tests/simt/runtime_state.h"

namespace precis::simt {

Runtime& TheRuntime() {
  static Runtime runtime;
  return runtime;
}

cudaError_t Told(cudaError_t error) {
  if (error != cudaSuccess) TheRuntime().last = error;
  return error;
}

cudaError_t Flush(cudaStream_t stream) {
  Runtime& r = TheRuntime();
  r.Protect(PROT_READ | PROT_WRITE);
  struct Close {
    ~Close() { TheRuntime().Protect(PROT_NONE); }
  } close;
  while (!stream->work.empty()) {
    const std::function<void()> work = std::move(stream->work.front());
    stream->work.pop_front();
    if (r.sticky != cudaSuccess) continue;
    if (r.faults.work_until_error-- <= 0) {
      r.sticky = cudaErrorIllegalAddress;
      continue;
    }
    work();
  }
  return r.sticky;
}

void Enqueue(cudaStream_t stream, PieceKind kind, const void* kernel, std::function<void()> work) {
  if (Told(MayAdd(stream)) != cudaSuccess) return;
  if (stream->capture == CaptureState::kActive) {
    stream->captured.nodes.push_back({kind, kernel, std::move(work)});
  } else {
    stream->work.push_back(std::move(work));
  }
}

void LaunchOn(precis_emulated_stream* stream, const void* kernel, std::function<void()> launch) {
  if (stream == nullptr) return launch();
  Enqueue(stream, PieceKind::kKernel, kernel, std::move(launch));
}

Faults& RuntimeFaults() { return TheRuntime().faults; }

void ResetRuntime() {
  Runtime& r = TheRuntime();
  if (!r.allocated.empty() || !r.pinned.empty()) throw std::runtime_error("memory is left");
  if (r.counts.graphs + r.counts.executables > 0) throw std::runtime_error("graphs are left");
  r.faults = {};
  r.sticky = r.last = cudaSuccess;
}

const RuntimeCounts& CountsOfRuntime() { return TheRuntime().counts; }

}  // namespace precis::simt

using precis::simt::Enqueue;
using precis::simt::Flush;
using precis::simt::MayAdd;
using precis::simt::PieceKind;
using precis::simt::RefuseIfCaptured;
using precis::simt::RefuseWhileCapturing;
using precis::simt::TheRuntime;
using precis::simt::Told;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureWrongThread:
      return "cudaErrorStreamCaptureWrongThread";
    case cudaErrorGraphExecUpdateFailure:
      return "cudaErrorGraphExecUpdateFailure";
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetLastError() {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  return std::exchange(r.last, cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (const cudaError_t refused = RefuseWhileCapturing(); refused != cudaSuccess) return refused;
  *total = r.faults.device_bytes;
  *free = *total - std::min(*total, r.counts.device_bytes);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** device, size_t bytes) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (const cudaError_t refused = RefuseWhileCapturing(); refused != cudaSuccess) return refused;
  const size_t rounded = (bytes + 4096 - 1) / 4096 * 4096;
  if (r.counts.device_bytes + bytes > r.faults.device_bytes ||
      r.used + rounded > precis::simt::kAddressBytes) {
    return Told(cudaErrorMemoryAllocation);
  }
  std::byte* at = r.base + r.used;
  // Poison, as of who had it before.
  if (mprotect(at, rounded, PROT_READ | PROT_WRITE) != 0) return Told(cudaErrorMemoryAllocation);
  std::memset(at, 0xff, rounded);
  mprotect(at, rounded, PROT_NONE);
  r.used += rounded;
  r.allocated[at] = bytes;
  r.counts.device_bytes += bytes;
  ++r.counts.allocations;
  *device = at;
  return cudaSuccess;
}

// Waits for the device, as CUDA's does: work that was asked for may use what is freed.
cudaError_t cudaFree(void* device) {
  auto& r = TheRuntime();
  if (device == nullptr) return cudaSuccess;
  const auto it = r.allocated.find(static_cast<std::byte*>(device));
  if (it == r.allocated.end()) return Told(cudaErrorInvalidValue);
  if (const cudaError_t refused = RefuseWhileCapturing(); refused != cudaSuccess) return refused;
  for (cudaStream_t stream : r.streams) Flush(stream);
  const size_t rounded = (it->second + 4096 - 1) / 4096 * 4096;
  madvise(it->first, rounded, MADV_DONTNEED);
  r.counts.device_bytes -= it->second;
  r.allocated.erase(it);
  if (r.allocated.empty()) r.used = 0;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** host, size_t bytes) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (const cudaError_t refused = RefuseWhileCapturing(); refused != cudaSuccess) return refused;
  void* memory = nullptr;
  if (r.counts.pinned_bytes + bytes > r.faults.pinned_bytes ||
      posix_memalign(&memory, precis::simt::kAlignment, bytes == 0 ? 1 : bytes) != 0) {
    return Told(cudaErrorMemoryAllocation);
  }
  std::memset(memory, 0xff, bytes);
  r.pinned[static_cast<std::byte*>(memory)] = bytes;
  r.counts.pinned_bytes += bytes;
  ++r.counts.allocations;
  *host = memory;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* host) {
  auto& r = TheRuntime();
  const auto it = r.pinned.find(static_cast<std::byte*>(host));
  if (it == r.pinned.end()) return Told(cudaErrorInvalidValue);
  if (const cudaError_t refused = RefuseWhileCapturing(); refused != cudaSuccess) return refused;
  for (cudaStream_t stream : r.streams) Flush(stream);
  r.counts.pinned_bytes -= it->second;
  r.pinned.erase(it);
  std::free(host);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* device, int value, size_t bytes, cudaStream_t stream) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  if (!r.Owns(device, bytes)) return Told(cudaErrorInvalidValue);
  if (const cudaError_t refused = MayAdd(stream); refused != cudaSuccess) return Told(refused);
  Enqueue(stream, PieceKind::kMemset, nullptr, [=] { std::memset(device, value, bytes); });
  return cudaSuccess;
}

// From pageable memory the runtime takes the bytes before it returns; to pageable memory it waits.
// What is pinned is read and written when the stream comes to it.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  auto& r = TheRuntime();
  if (r.sticky != cudaSuccess) return r.sticky;
  ++r.counts.copies;
  if (const cudaError_t refused = MayAdd(stream); refused != cudaSuccess) return Told(refused);
  if (kind == cudaMemcpyHostToDevice) {
    if (!r.Owns(to, bytes) || r.IsDevice(from)) return Told(cudaErrorInvalidValue);
    if (r.IsPinned(from)) {
      Enqueue(stream, PieceKind::kCopyToDevice, nullptr, [=] { std::memcpy(to, from, bytes); });
      return cudaSuccess;
    }
    if (const cudaError_t refused = RefuseIfCaptured(stream); refused != cudaSuccess) {
      return refused;
    }
    const auto* begin = static_cast<const std::byte*>(from);
    auto taken = std::make_shared<std::vector<std::byte>>(begin, begin + bytes);
    Enqueue(stream, PieceKind::kCopyToDevice, nullptr,
            [=] { std::memcpy(to, taken->data(), bytes); });
    return cudaSuccess;
  }
  if (!r.Owns(from, bytes) || r.IsDevice(to)) return Told(cudaErrorInvalidValue);
  if (!r.IsPinned(to)) {
    if (const cudaError_t refused = RefuseIfCaptured(stream); refused != cudaSuccess) {
      return refused;
    }
  }
  Enqueue(stream, PieceKind::kCopyToHost, nullptr, [=] { std::memcpy(to, from, bytes); });
  return r.IsPinned(to) ? cudaSuccess : Told(Flush(stream));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (TheRuntime().sticky != cudaSuccess) return TheRuntime().sticky;
  *stream = new precis_emulated_stream;
  TheRuntime().streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = Flush(stream);
  TheRuntime().streams.erase(stream);
  delete stream;
  return error;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t refused = RefuseIfCaptured(stream); refused != cudaSuccess) return refused;
  ++TheRuntime().counts.waits;
  return Told(Flush(stream));
}
