// What memory and threads of this machine do at their best, measured: two of the figures that the
// limit of docs/performance/limit.md is made of. The third, the peak of a GEMM, is measured through
// the backend.
//
// Owner: engine/bench. Thread rule: one caller at a time; OpenMP inside. Nothing else of ours may
// run meanwhile.
#pragma once

#include <cstdint>
#include <memory>

#include "common/status.h"

namespace precis {

// While it lives, each of the OpenMP threads of the calling thread has a core of its own, where
// there are as many. Two threads on one core, because another program has the second, cost a region
// their whole time of spinning, for as long as the scheduler leaves them there.
class ThreadsApart {
 public:
  virtual ~ThreadsApart() = default;
};
std::unique_ptr<ThreadsApart> KeepThreadsApart(uint32_t threads);

// Seconds that `threads` threads need to begin and to end a parallel region without work; 0 for
// one thread. The shortest of what fits into `seconds`.
double MeasureForkJoinSeconds(uint32_t threads, double seconds);

// Memory that is there to be read.
class ReadProbe {
 public:
  virtual ~ReadProbe() = default;
  // Bytes a second that the threads read together, each its own share of `working_set_bytes` again
  // and again; the best of what fits into `seconds`.
  virtual double Rate(uint64_t working_set_bytes, double seconds) = 0;
};

// RESOURCE_EXHAUSTED where there is no memory for a working set of `most_bytes`.
StatusOr<std::unique_ptr<ReadProbe>> MakeReadProbe(uint32_t threads, uint64_t most_bytes);

}  // namespace precis
