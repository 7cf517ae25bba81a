// Measures the figures that the limit of docs/performance/limit.md is made of.
//
// Owner: a benchmark. Thread rule: one thread, with OpenMP inside; no engine of ours may run
// meanwhile.
#pragma once

#include "common/status.h"
#include "kernels/backend.h"
#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/limit/op_recorder.h"

namespace precis {

// Raises `figures` to what the limit of `record` needs and this machine now reaches: fork-join,
// read rates, and the peak of a GEMM for each number of rows and type, the best of several matrices
// that fit into a cache, on a backend of its own. A type that the backend does not multiply counts
// as the next wider one.
//
// Goes round all figures, a few hundredths of a second for each, until a round improves none of
// them: what disturbs the machine meanwhile seldom lasts for all rounds. Takes seconds. Figures
// that are there only get better.
Status MeasureFor(const RunRecord& record, const BackendOptions& backend, MachineFigures* figures);

}  // namespace precis
