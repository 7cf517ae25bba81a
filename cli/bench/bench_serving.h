// `precis bench serving`: a line of JSON for the unloaded trace, for each rate, and for the whole.
// Owner: main, or a test with a bench of its own. Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "cli/model/look.h"
#include "tools/bench/serving.h"

namespace precis::cli {

// What is measured: an engine of this process, a server, or what a test makes up.
using ServingBench = std::function<StatusOr<ServingSummary>(
    const ServingOptions&, const std::function<void(const ServedModel&)>&,
    const std::function<void(const ServingResult&)>&,
    const std::function<void(const BenchProgress&)>&)>;

// "1,2.5,4": requests a second. INVALID_ARGUMENT naming the part that is none.
StatusOr<std::vector<double>> ParseRates(std::string_view text);

// One JSON object each, in one line, without a newline. Their fields: docs/cli.md.
std::string ServingJson(const ServedModel& model, const ServingResult& result);
std::string ServingSummaryJson(const ServedModel& model, const ServingSummary& summary);

// `rates`: may be empty. `trace_file`: empty for the trace that is built in. Returns the exit code.
int RunBenchServing(ServingOptions options, const std::string& rates, const std::string& trace_file,
                    const BenchLook& look, const ServingBench& bench, std::ostream& out,
                    std::ostream& err);

}  // namespace precis::cli
