// CUDA graphs of the work that comes again: one executable graph for each shape of it, which is
// launched as it is where nothing has changed, and updated where arguments have.
//
// Owner: the CUDA backend. Thread rule: the thread that has the stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "kernels/cuda/stream/stream_work.h"

namespace precis::cuda {

class GraphCache {
 public:
  GraphCache();
  ~GraphCache() { Clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Launches `work` as a graph, after what the stream has. False: nothing was done, and it is to
  // be issued as it is, because its shape is new (that loads its kernels, which is not for a
  // capture) or no graph of it can be had. An error is that of the launch: what the device has done
  // of it is not known.
  StatusOr<bool> Launch(const StreamWork& work, cudaStream_t stream);

  // No executable may be at work.
  void Clear();

 private:
  struct Executable {
    uint64_t shape;
    StreamWork made_of;
    cudaGraphExec_t exec;
    uint64_t last_used;
  };

  Executable* Find(uint64_t shape);
  bool WasSeen(uint64_t shape);
  StatusOr<Executable*> Make(const StreamWork& work, uint64_t shape, cudaStream_t stream);
  void Drop(Executable* executable);

  std::vector<Executable> executables_;
  std::vector<uint64_t> seen_;  // shapes, a ring
  size_t next_seen_ = 0;
  uint64_t launches_ = 0;
  uint32_t failures_left_;
};

}  // namespace precis::cuda
