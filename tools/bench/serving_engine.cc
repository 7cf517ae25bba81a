// BenchServingEngine: an engine under load, and the same load on a machine that runs at its limit.
#include <algorithm>
#include <utility>

#include "tools/bench/check_range.h"
#include "tools/bench/engine_target.h"
#include "tools/bench/limit/limit_runner.h"
#include "tools/bench/measured_engine.h"
#include "tools/bench/offline.h"
#include "tools/bench/profile.h"
#include "tools/bench/serving.h"
#include "tools/bench/simulated_load.h"

namespace precis {
namespace {

BenchFit FitOf(const ServingOptions& options, uint32_t batch) {
  return {.items = Repeated(options.trace, std::max<size_t>(batch, options.trace.size())),
          .batch = batch,
          .unfinished = options.max_requests,
          .encode_budget = EngineOptions().encode_budget};
}

// The highest rate where each step takes its limit on the machine of `figures`.
Status SimulateLimit(const ServingOptions& options, const EngineOptions& engine_options,
                     uint32_t batch, const MachineFigures& figures,
                     const std::function<void(const BenchProgress&)>& on_progress,
                     ServingSummary* summary) {
  PRECIS_ASSIGN_OR_RETURN(FittedModel fitted, LoadFitted(engine_options, FitOf(options, batch),
                                                         "a batch of the trace"));
  SimulatedClock clock;
  LimitRunner runner(std::move(fitted.loaded.parts), fitted.recorder.get(), figures, &clock);
  const LoadRunner run_load = [&](const auto& requests, const auto& due_s, double limit_s,
                                  const auto& on_ended) {
    return SimulateLoad(fitted.options, runner, clock, requests, due_s, limit_s, on_ended);
  };
  ServingOptions search = options;
  search.rates.clear();
  const auto on_result = [&](const ServingResult& result) {
    if (result.offered_per_s == 0) summary->limit_unloaded_p95_s = result.total_s.p95;
  };
  PRECIS_ASSIGN_OR_RETURN(
      const std::optional<double> rate,
      BenchServing(search, fitted.loaded.info, run_load, on_result, on_progress));
  summary->limit_rate = rate.value_or(0);
  return OkStatus();
}

}  // namespace

StatusOr<ServingSummary> BenchServingEngine(
    const ServingOptions& options, const EngineOptions& engine_options, uint32_t batch,
    const std::function<void(const ServedModel&)>& on_loaded,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress) {
  PRECIS_RETURN_IF_ERROR(CheckServingOptions(options));
  PRECIS_RETURN_IF_ERROR(CheckRange("--batch", batch, 1, kMostBenchBatch));
  if (engine_options.model_dir.empty()) {
    return InvalidArgument("no model directory was given (--model)");
  }
  const BenchFit fit = FitOf(options, batch);
  ServingSummary summary;
  {
    if (on_progress) on_progress({0, 1, "serving", "loading", 0});
    PRECIS_ASSIGN_OR_RETURN(const auto engine,
                            MeasuredEngine::Load(engine_options, fit, "a batch of the trace"));
    on_loaded({"precis", engine->info().name, engine->info().numerics, engine->load_s()});
    EngineTarget target(engine->engine());
    PRECIS_ASSIGN_OR_RETURN(summary.highest_per_s,
                            BenchServing(options, engine->info(), target, on_result, on_progress));
  }
  if (!options.limit) return summary;
  const ThroughputOptions offline{
      .engine = engine_options, .trace = options.trace, .batch = batch, .seed = options.seed};
  MachineFigures figures;
  PRECIS_ASSIGN_OR_RETURN(const ThroughputResult result,
                          BenchThroughputOn(offline, on_progress, &figures));
  summary.offline_per_s = result.documents_per_s();
  if (!HasMachineLimit(result.device)) return summary;
  summary.limit_per_s = result.documents / result.limit_s;
  if (!options.find_rate) return summary;
  PRECIS_RETURN_IF_ERROR(
      SimulateLimit(options, engine_options, batch, figures, on_progress, &summary));
  return summary;
}

}  // namespace precis
