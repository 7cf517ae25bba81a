// What memory and threads of this machine do at their best, measured: two of the figures that the
// limit of docs/performance/limit.md is made of. The third, the peak of a GEMM, is measured through
// the backend.
//
// Owner: engine/bench. Thread rule: one caller at a time; OpenMP inside. Nothing else of ours may
// run meanwhile.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"

namespace precis {

// Seconds that `threads` threads need to begin and to end a parallel region without work; 0 for
// one thread. The shortest of many.
double MeasureForkJoinSeconds(uint32_t threads);

// For each working set in bytes, how many bytes a second `threads` threads read together, each its
// own share again and again; the best of what fits into `seconds_each`. RESOURCE_EXHAUSTED where
// there is no memory for the largest.
StatusOr<std::vector<double>> MeasureReadRates(uint32_t threads,
                                               std::span<const uint64_t> working_sets,
                                               double seconds_each);

}  // namespace precis
