// BenchThroughput: timed runs, one recorded run, and the limit of what was recorded.
#include "tools/bench/throughput.h"

#include <cmath>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "tools/bench/check_range.h"
#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/measured_engine.h"
#include "tools/bench/offline.h"
#include "tools/bench/profile.h"

namespace precis {
namespace {

using RunProgress = std::function<void(std::string what, double fraction)>;

Status CheckOptions(const ThroughputOptions& o) {
  if (o.engine.model_dir.empty()) return InvalidArgument("no model directory was given (--model)");
  if (o.trace.empty()) return InvalidArgument("the trace has no document");
  PRECIS_RETURN_IF_ERROR(CheckRange("--documents", o.documents, 0, kMostBenchDocuments));
  PRECIS_RETURN_IF_ERROR(CheckRange("--batch", o.batch, 1, kMostBenchBatch));
  return CheckRange("--repeats", o.repeats, 1, 1000);
}

ThroughputResult ResultFor(const WorkTrace& items, uint32_t batch, const MeasuredEngine& engine) {
  ThroughputResult result;
  engine.Describe(&result);
  result.batch = batch;
  result.documents = static_cast<uint32_t>(items.size());
  for (const WorkItem& item : items) {
    result.source_tokens += item.source_tokens;
    result.new_tokens += item.new_tokens;
  }
  return result;
}

// A run has not always had every batch; ops without a count ask for the peaks of the others.
void AskForAllBatches(uint32_t batch, PhaseRecord* decode) {
  std::vector<OpCost> gemms;
  for (const auto& [cost, total] : decode->ops) {
    if (cost.kind == OpKind::kGemm) gemms.push_back(cost);
  }
  for (OpCost& cost : gemms) {
    for (cost.rows = 1; cost.rows <= batch; ++cost.rows) decode->ops.try_emplace(cost);
  }
}

// The measured engine is gone before the machine is measured.
StatusOr<ThroughputResult> Run(const ThroughputOptions& options, const WorkTrace& items,
                               const RunProgress& progress, RunRecord* record, RunTimes* recorded) {
  progress("loading", 0);
  const BenchFit fit{
      .items = items, .batch = options.batch, .unfinished = static_cast<uint32_t>(items.size())};
  PRECIS_ASSIGN_OR_RETURN(const auto engine,
                          MeasuredEngine::Load(options.engine, fit, "a batch of the trace"));
  ThroughputResult result = ResultFor(items, options.batch, *engine);
  const std::vector<LoadRequest> requests = RandomRequests(options.seed, items, engine->info());
  const double runs = options.repeats + (options.limit ? 1 : 0);
  const auto on_tokens_of = [&](const std::string& what, uint32_t run) {
    return [&progress, &result, what, run, runs](uint64_t tokens) {
      const double done = static_cast<double>(tokens) / static_cast<double>(result.new_tokens);
      progress(what, (run + done) / runs);
    };
  };
  result.total_s = HUGE_VAL;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    const std::string what = fmt::format("run {} of {}", i + 1, options.repeats);
    const EngineStats before = engine->stats();
    PRECIS_ASSIGN_OR_RETURN(const RunTimes times, engine->Run(requests, on_tokens_of(what, i)));
    if (times.total_s >= result.total_s) continue;
    const EngineStats after = engine->stats();
    result.total_s = times.total_s;
    result.encode_s = times.encode_s();
    result.mean_batch = static_cast<double>(after.decode_rows - before.decode_rows) /
                        static_cast<double>(after.decode_steps - before.decode_steps);
  }
  result.peak_resident_bytes = PeakResidentBytes();
  if (!options.limit || !HasMachineLimit(result.device)) return result;
  PRECIS_ASSIGN_OR_RETURN(
      *recorded,
      engine->RunRecorded(requests, on_tokens_of("timing ops", options.repeats), record));
  return result;
}

}  // namespace

StatusOr<ThroughputResult> BenchThroughput(
    const ThroughputOptions& options,
    const std::function<void(const BenchProgress&)>& on_progress) {
  MachineFigures figures;
  return BenchThroughputOn(options, on_progress, &figures);
}

StatusOr<ThroughputResult> BenchThroughputOn(
    const ThroughputOptions& options, const std::function<void(const BenchProgress&)>& on_progress,
    MachineFigures* figures) {
  PRECIS_RETURN_IF_ERROR(CheckOptions(options));
  const WorkTrace items =
      options.documents == 0 ? options.trace : Repeated(options.trace, options.documents);
  const RunProgress progress = [&](std::string what, double fraction) {
    if (!on_progress) return;
    on_progress({0, 1, fmt::format("{} documents", items.size()), std::move(what), fraction});
  };
  RunRecord record;
  RunTimes recorded;
  PRECIS_ASSIGN_OR_RETURN(ThroughputResult result,
                          Run(options, items, progress, &record, &recorded));
  if (!options.limit || !HasMachineLimit(result.device)) return result;
  AskForAllBatches(options.batch, &record.of(BenchPhase::kDecode));
  progress("measuring the machine", 1);
  PRECIS_RETURN_IF_ERROR(ProfileOnMachine(record, recorded, options.engine.isa, figures, &result));
  return result;
}

}  // namespace precis
