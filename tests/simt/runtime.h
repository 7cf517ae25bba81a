// The CUDA runtime under emulation: memory of a device that the host cannot reach, and streams
// whose work is done when it is waited for, as late as a device may do it. So a host that changes
// what a copy has not yet read, or reads what is not yet written, is seen.
//
// Called by what tests/simt/shadow/cuda_runtime.h declares, and by tests. Thread rule: one thread.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace precis::simt {

enum class PieceKind { kKernel, kMemset, kCopyToDevice, kCopyToHost };

// Work of the device, behind what the stream has; it may reach device memory. While the stream is
// captured it becomes a node of the graph. `kernel`: of kKernel, which.
void Enqueue(cudaStream_t stream, PieceKind kind, const void* kernel, std::function<void()> work);

// The faults of a test. Set back by ResetRuntime().
struct Faults {
  size_t device_bytes = size_t{512} << 20;  // what cudaMalloc has to give, in all
  size_t pinned_bytes = size_t{512} << 20;  // and cudaMallocHost
  // Counted down by each piece of a stream's work; the one at 0 fails, and from then on all does.
  int64_t work_until_error = INT64_MAX;
  // Calls that succeed before all others of their kind fail.
  int64_t captures = INT64_MAX;        // cudaStreamEndCapture
  int64_t updates = INT64_MAX;         // cudaGraphExecUpdate: refused, as by what has changed
  int64_t instantiations = INT64_MAX;  // cudaGraphInstantiate: no memory
  int64_t graph_launches = INT64_MAX;  // cudaGraphLaunch
};
Faults& RuntimeFaults();
// The sticky error goes, as with a new process. No memory or stream may be left.
void ResetRuntime();

// What was asked for so far; a test that claims nothing is allocated compares.
struct RuntimeCounts {
  uint64_t allocations = 0;  // device and pinned
  uint64_t copies = 0;
  uint64_t waits = 0;
  uint64_t captures = 0;
  uint64_t instantiations = 0;
  uint64_t updates = 0;
  uint64_t refused_updates = 0;
  uint64_t graph_launches = 0;
  size_t graphs = 0;        // now
  size_t executables = 0;   // now
  size_t device_bytes = 0;  // now
  size_t pinned_bytes = 0;  // now
};
const RuntimeCounts& CountsOfRuntime();

}  // namespace precis::simt
