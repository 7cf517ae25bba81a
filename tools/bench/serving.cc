#include "tools/bench/serving.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "tools/bench/arrivals.h"
#include "tools/bench/check_range.h"
#include "tools/bench/measured_engine.h"

namespace precis {
namespace {

constexpr double kMostRate = 1e6;
constexpr double kMostSeconds = 3600;
// What a rate may take beyond its arrivals before the rest is given up: so many times as long, and
// so many of the slowest unloaded request.
constexpr double kMostDrains = 1;
constexpr double kMostSlowdown = 10;
// How many times what is acceptable the arrivals last at least: a queue that grows must have the
// time to become too long.
constexpr double kArrivalsOverBound = 10;
constexpr size_t kDocumentsAlone = 2;

Percentiles PercentilesOf(const std::vector<double>& values) {
  return {Percentile(values, 0.50), Percentile(values, 0.95), Percentile(values, 0.99)};
}

class ServingRun {
 public:
  ServingRun(const ServingOptions& options, const ModelInfo& model, const LoadRunner& run_load,
             const std::function<void(const BenchProgress&)>& on_progress)
      : options_(options), model_(model), run_load_(run_load), on_progress_(on_progress) {}

  // Every item of the trace, one after the other; of two documents the faster one, so that a
  // machine that is slow or asleep for a while sets no bound.
  StatusOr<ServingResult> Unloaded() {
    std::vector<LoadOutcome> fastest;
    for (size_t document = 0; document < kDocumentsAlone; ++document) {
      const std::vector<LoadRequest> requests = RandomRequests(seed_, options_.trace, model_);
      seed_ += requests.size();
      for (size_t i = 0; i < requests.size(); ++i) {
        PRECIS_ASSIGN_OR_RETURN(LoadOutcome one, Alone(requests[i]));
        if (document == 0) {
          fastest.push_back(std::move(one));
        } else if (one.total_s < fastest[i].total_s) {
          fastest[i] = std::move(one);
        }
        Tell("alone", static_cast<double>(document * requests.size() + i + 1) /
                          static_cast<double>(kDocumentsAlone * requests.size()));
      }
    }
    double wall_s = 0;
    for (const LoadOutcome& one : fastest) {
      alone_s_.push_back(one.total_s);
      wall_s += one.total_s;
    }
    return unloaded_ = ResultOf(fastest, wall_s);
  }

  StatusOr<ServingResult> AtRate(double rate, const std::string& what) {
    const auto wanted = static_cast<uint32_t>(
        std::min<double>(std::ceil(rate * ArrivalSeconds()), options_.max_requests));
    const size_t count = std::max(wanted, kFewestServed);
    const std::vector<double> due_s = PoissonArrivals(options_.seed, rate, count);
    // Other documents than before: nothing of theirs is in a cache.
    seed_ += count;
    const std::vector<LoadRequest> requests =
        RandomRequests(seed_, Repeated(options_.trace, count), model_);
    const double limit_s = due_s.back() * (1 + kMostDrains) + kMostSlowdown * SlowestAlone();
    PRECIS_ASSIGN_OR_RETURN(const std::vector<LoadOutcome> outcomes,
                            run_load_(requests, due_s, limit_s, [&](size_t ended) {
                              Tell(what, static_cast<double>(ended) / static_cast<double>(count));
                            }));
    double last_s = 0;
    for (size_t i = 0; i < count; ++i) last_s = std::max(last_s, due_s[i] + outcomes[i].total_s);
    ServingResult result = ResultOf(outcomes, last_s - due_s.front());
    result.offered_per_s = rate;
    result.p95_over_unloaded = result.total_s.p95 / unloaded_.total_s.p95;
    result.holds = result.unfinished == 0 && result.p95_over_unloaded <= options_.slowdown;
    return result;
  }

  double mean_alone_s() const { return unloaded_.mean_total_s; }

  void Begin(size_t part, size_t parts) {
    part_ = part;
    parts_ = parts;
  }

 private:
  StatusOr<LoadOutcome> Alone(const LoadRequest& request) const {
    PRECIS_ASSIGN_OR_RETURN(std::vector<LoadOutcome> outcomes,
                            run_load_({request}, {0}, kMostSeconds, [](size_t) {}));
    if (!outcomes[0].finished) {
      return Unavailable("a request with no other of ours beside it was not served");
    }
    return std::move(outcomes[0]);
  }

  double ArrivalSeconds() const {
    return std::max(options_.seconds,
                    kArrivalsOverBound * options_.slowdown * unloaded_.total_s.p95);
  }
  double SlowestAlone() const { return *std::ranges::max_element(alone_s_); }

  void Tell(const std::string& what, double fraction) const {
    if (on_progress_) on_progress_({part_, parts_, "serving", what, fraction});
  }

  ServingResult ResultOf(const std::vector<LoadOutcome>& outcomes, double wall_s) const {
    std::vector<double> totals, first_tokens, inter_tokens, slowdowns;
    ServingResult result;
    result.requests = static_cast<uint32_t>(outcomes.size());
    for (const LoadOutcome& o : outcomes) {
      totals.push_back(o.total_s);
      slowdowns.push_back(o.total_s / alone_s_[o.index % alone_s_.size()]);
      if (o.first_token_s > 0) first_tokens.push_back(o.first_token_s);
      inter_tokens.insert(inter_tokens.end(), o.inter_token_s.begin(), o.inter_token_s.end());
      if (!o.finished) ++result.unfinished;
      result.mean_total_s += o.total_s / static_cast<double>(outcomes.size());
    }
    result.wall_s = wall_s;
    result.achieved_per_s = (result.requests - result.unfinished) / wall_s;
    result.total_s = PercentilesOf(totals);
    result.first_token_s = PercentilesOf(first_tokens);
    result.inter_token_s = PercentilesOf(inter_tokens);
    result.slowdown_p95 = Percentile(slowdowns, 0.95);
    return result;
  }

  const ServingOptions& options_;
  const ModelInfo& model_;
  const LoadRunner& run_load_;
  const std::function<void(const BenchProgress&)>& on_progress_;
  std::vector<double> alone_s_;  // by item of the trace
  ServingResult unloaded_;
  uint64_t seed_ = options_.seed;
  size_t part_ = 0;
  size_t parts_ = 1;
};

}  // namespace

Status CheckServingOptions(const ServingOptions& o) {
  if (o.trace.empty()) return InvalidArgument("the trace has no document");
  if (o.rates.empty() && !o.find_rate) {
    return InvalidArgument("no rate was given: --rates, or --find-rate");
  }
  for (const double rate : o.rates) {
    if (rate > 0 && rate <= kMostRate) continue;
    return InvalidArgument(fmt::format("--rates: {} is no rate of requests a second", rate));
  }
  if (!(o.seconds > 0 && o.seconds <= kMostSeconds)) {
    return InvalidArgument(
        fmt::format("--seconds is {}, must be above 0 and at most {}", o.seconds, kMostSeconds));
  }
  if (!(o.slowdown >= 1)) {
    return InvalidArgument(fmt::format("--slowdown is {}, must be at least 1", o.slowdown));
  }
  return CheckRange("--max-requests", o.max_requests, kFewestServed, kMostBenchDocuments);
}

StatusOr<std::optional<double>> BenchServing(
    const ServingOptions& options, const ModelInfo& model, const LoadRunner& run_load,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress) {
  PRECIS_RETURN_IF_ERROR(CheckServingOptions(options));
  RateSearch search;
  const size_t parts = 1 + options.rates.size() + (options.find_rate ? search.trials : 0);
  ServingRun run(options, model, run_load, on_progress);
  run.Begin(0, parts);
  PRECIS_ASSIGN_OR_RETURN(const ServingResult unloaded, run.Unloaded());
  on_result(unloaded);
  size_t part = 0;
  const auto at_rate = [&](double rate) -> StatusOr<bool> {
    run.Begin(++part, parts);
    PRECIS_ASSIGN_OR_RETURN(const ServingResult result,
                            run.AtRate(rate, fmt::format("{:.3g} requests/s", rate)));
    on_result(result);
    return result.holds;
  };
  for (const double rate : options.rates) PRECIS_RETURN_IF_ERROR(at_rate(rate).status());
  if (!options.find_rate) return std::optional<double>();
  search.first = 1 / run.mean_alone_s();
  PRECIS_ASSIGN_OR_RETURN(const double found, FindHighestRate(search, at_rate));
  return std::optional<double>(found);
}

StatusOr<std::optional<double>> BenchServing(
    const ServingOptions& options, const ModelInfo& model, LoadTarget& target,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress) {
  const LoadRunner run_load = [&target](const auto& requests, const auto& due_s, double limit_s,
                                        const auto& on_ended) {
    return RunLoad(target, requests, due_s, limit_s, on_ended);
  };
  return BenchServing(options, model, run_load, on_result, on_progress);
}

}  // namespace precis
