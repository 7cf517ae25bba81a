// `precis bench latency`: a line of JSON for each case, and on demand a table of what its ops took
// and could take. Owner: main, or a test with a bench of its own. Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "cli/model/look.h"
#include "tools/bench/latency.h"

namespace precis::cli {

using LatencyBench =
    std::function<Status(const LatencyOptions&, const std::function<void(const LatencyResult&)>&,
                         const std::function<void(const BenchProgress&)>&)>;

// One JSON object, in one line, without a newline. Its fields: docs/cli.md.
std::string LatencyJson(const LatencyResult& result);
// A table by phase and op.
std::string LatencyProfile(const LatencyResult& result);

// `cases`: "1x1,32x1". Returns the exit code.
int RunBenchLatency(LatencyOptions options, const std::string& cases, const BenchLook& look,
                    const LatencyBench& bench, std::ostream& out, std::ostream& err);

}  // namespace precis::cli
