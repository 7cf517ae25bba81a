// BenchThroughput for those who go on with the figures of the machine.
// Owner: a benchmark. Thread rule: one thread.
#pragma once

#include <functional>

#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/throughput.h"

namespace precis {

// With options.limit `figures` have all that the trace needs of the machine, whatever order its
// documents run in and however many of them, up to options.batch, decode at once.
StatusOr<ThroughputResult> BenchThroughputOn(
    const ThroughputOptions& options, const std::function<void(const BenchProgress&)>& on_progress,
    MachineFigures* figures);

}  // namespace precis
