// `precis bench throughput`: one line of JSON. Owner: main, or a test with a bench of its own.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "cli/model/look.h"
#include "tools/bench/throughput.h"

namespace precis::cli {

using ThroughputBench = std::function<StatusOr<ThroughputResult>(
    const ThroughputOptions&, const std::function<void(const BenchProgress&)>&)>;

// One JSON object, in one line, without a newline. Its fields: docs/cli.md.
std::string ThroughputJson(const ThroughputResult& result);

// `trace_file`: empty for the trace that is built in. Returns the exit code.
int RunBenchThroughput(ThroughputOptions options, const std::string& trace_file,
                       const BenchLook& look, const ThroughputBench& bench, std::ostream& out,
                       std::ostream& err);

}  // namespace precis::cli
