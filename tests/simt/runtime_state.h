// What the emulated runtime knows; apart from runtime.h, which is what tests see.
//
// Included by the sources of the runtime. Thread rule: as runtime.h.
#pragma once

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "tests/simt/runtime.h"

namespace precis::simt {

// A piece of a stream's work, or a node of a graph.
struct Piece {
  PieceKind kind;
  const void* kernel;  // of kKernel: which
  std::function<void()> work;
};

enum class CaptureState { kNone, kActive, kInvalidated };

}  // namespace precis::simt

// Nodes that follow each other, as one stream's are.
struct precis_emulated_graph {
  std::vector<precis::simt::Piece> nodes;
};
struct precis_emulated_graph_exec {
  std::vector<precis::simt::Piece> nodes;
};
struct precis_emulated_stream {
  std::deque<std::function<void()>> work;
  precis::simt::CaptureState capture = precis::simt::CaptureState::kNone;
  cudaStreamCaptureMode mode{};
  std::thread::id captured_by;
  precis_emulated_graph captured;
};

namespace precis::simt {

inline constexpr size_t kAddressBytes = size_t{4} << 30;
inline constexpr size_t kAlignment = 256;

// Addresses are given again only once all memory is free.
struct Runtime {
  Runtime()
      : base(static_cast<std::byte*>(mmap(nullptr, kAddressBytes, PROT_NONE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (base == MAP_FAILED) throw std::bad_alloc();
  }
  void Protect(int rights) const {
    if (used > 0 && mprotect(base, used, rights) != 0) throw std::bad_alloc();
  }
  bool IsDevice(const void* p) const {
    const auto* at = static_cast<const std::byte*>(p);
    return at >= base && at < base + kAddressBytes;
  }
  // Whether all of it lies in one allocation.
  bool Owns(const void* p, size_t bytes) const {
    auto it = allocated.upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(p)));
    if (it == allocated.begin()) return false;
    --it;
    const auto* at = static_cast<const std::byte*>(p);
    return at >= it->first && at + bytes <= it->first + it->second;
  }
  bool IsPinned(const void* p) const {
    auto it = pinned.upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(p)));
    if (it == pinned.begin()) return false;
    --it;
    return static_cast<const std::byte*>(p) < it->first + it->second;
  }

  std::byte* const base;
  size_t used = 0;
  std::map<std::byte*, size_t> allocated;
  std::map<std::byte*, size_t> pinned;
  std::set<cudaStream_t> streams;
  Faults faults;
  RuntimeCounts counts;
  cudaError_t sticky = cudaSuccess;
  cudaError_t last = cudaSuccess;
};

Runtime& TheRuntime();

// What cudaGetLastError() tells next.
cudaError_t Told(cudaError_t error);

// Does all that the stream has; the device's memory is open meanwhile.
cudaError_t Flush(cudaStream_t stream);

// Of a call that no graph would have: an error if this thread captures, and no graph comes of it.
cudaError_t RefuseWhileCapturing();
// The same of a call that concerns a stream which captures, whatever the mode.
cudaError_t RefuseIfCaptured(cudaStream_t stream);
// Whether a call that a graph may have can be added to the stream.
cudaError_t MayAdd(cudaStream_t stream);

}  // namespace precis::simt
