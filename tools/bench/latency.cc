// BenchLatency: for each case an engine of its own, timed runs, one recorded run, and the limit of
// what was recorded.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

#include "engine/sched/scheduler.h"
#include "fmt/format.h"
#include "tools/bench/check_range.h"
#include "tools/bench/latency.h"
#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/measured_engine.h"
#include "tools/bench/profile.h"
#include "tools/bench/work_trace.h"

namespace precis {
namespace {

constexpr uint32_t kMostRows = 1024;

std::string CaseName(const BenchCase& c) { return fmt::format("--cases: {}x{}", c.batch, c.beams); }

Status CheckCase(const BenchCase& c) {
  if (c.batch == 0 || c.beams == 0) return InvalidArgument(CaseName(c) + " is no case");
  if (c.beams > Scheduler::kMaxBeams) {
    return InvalidArgument(
        fmt::format("{} has {} beams, the most is {}", CaseName(c), c.beams, Scheduler::kMaxBeams));
  }
  const uint64_t rows = uint64_t{c.batch} * c.beams;
  if (rows > kMostRows) {
    return InvalidArgument(
        fmt::format("{} has {} rows, the most is {}", CaseName(c), rows, kMostRows));
  }
  return OkStatus();
}

Status CheckLatencyOptions(const LatencyOptions& o) {
  if (o.engine.model_dir.empty()) return InvalidArgument("no model directory was given (--model)");
  PRECIS_RETURN_IF_ERROR(CheckRange("--source", o.source_tokens, 1, kMostBenchSource));
  PRECIS_RETURN_IF_ERROR(CheckRange("--new", o.new_tokens, 1, kMostBenchNew));
  PRECIS_RETURN_IF_ERROR(CheckRange("--repeats", o.repeats, 1, 1000));
  if (o.cases.empty()) return InvalidArgument("--cases names no case");
  for (const BenchCase& c : o.cases) PRECIS_RETURN_IF_ERROR(CheckCase(c));
  return OkStatus();
}

using CaseProgress = std::function<void(std::string what, double fraction)>;

LatencyResult ResultFor(const LatencyOptions& options, const BenchCase& c,
                        const MeasuredEngine& engine) {
  LatencyResult result;
  engine.Describe(&result);
  result.of = c;
  result.source_tokens = options.source_tokens;
  result.new_tokens = options.new_tokens;
  result.workspace_bytes = engine.workspace_bytes();
  return result;
}

// The measured engine is gone before the machine is measured.
StatusOr<LatencyResult> RunCase(const LatencyOptions& options, const BenchCase& c,
                                const CaseProgress& progress, RunRecord* record,
                                RunTimes* recorded) {
  progress("loading", 0);
  const WorkTrace items(c.batch, {options.source_tokens, options.new_tokens});
  const BenchFit fit{.items = items, .batch = c.batch, .beams = c.beams, .unfinished = c.batch};
  PRECIS_ASSIGN_OR_RETURN(const auto engine,
                          MeasuredEngine::Load(options.engine, fit, CaseName(c)));
  LatencyResult result = ResultFor(options, c, *engine);
  const std::vector<LoadRequest> requests = RandomRequests(options.seed, items, engine->info());
  const double runs = options.repeats + 1;
  const double all_tokens = double{1} * c.batch * options.new_tokens;
  const auto on_tokens_of = [&](const std::string& what, uint32_t run) {
    return [&progress, what, run, runs, all_tokens](uint64_t tokens) {
      progress(what, (run + static_cast<double>(tokens) / all_tokens) / runs);
    };
  };
  result.total_s = HUGE_VAL;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    const std::string what = fmt::format("run {} of {}", i + 1, options.repeats);
    PRECIS_ASSIGN_OR_RETURN(const RunTimes times, engine->Run(requests, on_tokens_of(what, i)));
    if (times.total_s >= result.total_s) continue;
    result.total_s = times.total_s;
    result.encode_s = times.encode_s();
  }
  result.resident_bytes = ResidentBytes();
  if (!HasMachineLimit(result.device)) return result;
  PRECIS_ASSIGN_OR_RETURN(
      *recorded,
      engine->RunRecorded(requests, on_tokens_of("timing ops", options.repeats), record));
  return result;
}

}  // namespace

StatusOr<std::vector<BenchCase>> ParseBenchCases(std::string_view text) {
  std::vector<BenchCase> cases;
  const auto number = [](std::string_view digits, uint32_t* out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
    return error == std::errc() && end == digits.data() + digits.size() && *out > 0;
  };
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const size_t x = part.find('x');
    BenchCase c;
    if (x == std::string_view::npos || !number(part.substr(0, x), &c.batch) ||
        !number(part.substr(x + 1), &c.beams)) {
      return InvalidArgument(
          fmt::format("--cases: '{}' is no case; a case is BATCHxBEAMS, as in 32x1", part));
    }
    cases.push_back(c);
    if (comma == std::string_view::npos) return cases;
    text.remove_prefix(comma + 1);
  }
}

Status BenchLatency(const LatencyOptions& options,
                    const std::function<void(const LatencyResult&)>& on_result,
                    const std::function<void(const BenchProgress&)>& on_progress) {
  PRECIS_RETURN_IF_ERROR(CheckLatencyOptions(options));
  MachineFigures figures;
  for (size_t i = 0; i < options.cases.size(); ++i) {
    const BenchCase& c = options.cases[i];
    const CaseProgress progress = [&](std::string what, double fraction) {
      if (on_progress)
        on_progress({i, options.cases.size(), fmt::format("{}x{}", c.batch, c.beams),
                     std::move(what), fraction});
    };
    RunRecord record;
    RunTimes recorded;
    PRECIS_ASSIGN_OR_RETURN(LatencyResult result,
                            RunCase(options, c, progress, &record, &recorded));
    if (HasMachineLimit(result.device)) {
      progress("measuring the machine", 1);
      PRECIS_RETURN_IF_ERROR(
          ProfileOnMachine(record, recorded, options.engine.isa, &figures, &result));
    }
    if (on_result) on_result(result);
  }
  return OkStatus();
}

}  // namespace precis
