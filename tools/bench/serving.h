// Requests that arrive at random: the latency that they see at given rates, and the highest rate at
// which it stays acceptable. Called by `precis bench serving`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "tools/bench/load.h"
#include "tools/bench/throughput.h"
#include "tools/bench/work_trace.h"

namespace precis {

struct ServingOptions {
  WorkTrace trace;
  std::vector<double> rates;     // requests a second, in turn
  bool find_rate = false;        // then search for the highest rate that holds
  double slowdown = 3;           // a rate holds while p95 is at most so many times the unloaded p95
  double seconds = 20;           // of arrivals at each rate; at least 10 times what is acceptable
  uint32_t max_requests = 1000;  // at each rate
  uint64_t seed = 1;             // of arrivals and documents
  bool limit = true;             // an engine of this process: also what the trace costs at least
};

struct Percentiles {
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
};

// Of one rate; of the unloaded trace, every item alone (the faster of two documents), with a rate
// of 0.
struct ServingResult {
  double offered_per_s = 0;   // requests
  double achieved_per_s = 0;  // finished, over the time from the first arrival to the last end
  uint32_t requests = 0;
  uint32_t unfinished = 0;  // given up; their latencies count as far as they got
  double wall_s = 0;
  Percentiles total_s;        // from when a request was due to its end
  Percentiles first_token_s;  // of those that had one
  Percentiles inter_token_s;
  double mean_total_s = 0;
  double p95_over_unloaded = 1;  // of total_s
  double slowdown_p95 = 1;       // p95 of each request's total over what it takes alone
  bool holds = true;
};

// Fewest requests of a rate, however low it is.
inline constexpr uint32_t kFewestServed = 20;

// The latencies of every item of the trace alone, then of each rate. `on_result` hears each, the
// unloaded one first. The rate that FindHighestRate found, 0 where none holds; nothing where it was
// not asked for.
StatusOr<std::optional<double>> BenchServing(
    const ServingOptions& options, const ModelInfo& model, LoadTarget& target,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress);

// The same where loads are run by `run_load`.
StatusOr<std::optional<double>> BenchServing(
    const ServingOptions& options, const ModelInfo& model, const LoadRunner& run_load,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress);

// INVALID_ARGUMENT naming what makes no sense.
Status CheckServingOptions(const ServingOptions& options);

struct ServingSummary {
  std::optional<double> highest_per_s;  // as BenchServing says
  // Of the trace's documents, all queued at once; 0 without options.limit.
  double offline_per_s = 0;
  double limit_per_s = 0;  // documents over the limit of docs/performance/limit.md for all of them
  // The highest rate, requests a second, of the same scheduler on a simulated machine on which each
  // step takes the limit of its ops; its bound follows from its own unloaded p95. 0 unless both the
  // limit and a rate were asked for.
  double limit_rate = 0;
  double limit_unloaded_p95_s = 0;

  double fraction_of_limit() const { return *highest_per_s / limit_rate; }
};

struct ServedModel {
  std::string engine;  // "precis", "precis-server"
  std::string model;
  std::string numerics;  // as ModelInfo
  double load_s = 0;     // 0: not loaded by us
};

// The same on an engine of this process, with the server's way of scheduling, and what the trace
// costs at least. `engine_options` as ThroughputOptions::engine; `batch`: documents that decode at
// once.
StatusOr<ServingSummary> BenchServingEngine(
    const ServingOptions& options, const EngineOptions& engine_options, uint32_t batch,
    const std::function<void(const ServedModel&)>& on_loaded,
    const std::function<void(const ServingResult&)>& on_result,
    const std::function<void(const BenchProgress&)>& on_progress);

}  // namespace precis
