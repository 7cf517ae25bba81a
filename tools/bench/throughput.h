// Runs documents of mixed lengths through an engine as fast as it can, all queued at once, and says
// how far that is from what this machine could do (docs/performance/limit.md). Called by
// `precis bench throughput`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "tools/bench/latency.h"
#include "tools/bench/work_trace.h"

namespace precis {

// Limits of what `precis bench throughput` and `serving` are asked for.
inline constexpr uint32_t kMostBenchDocuments = 100'000;
inline constexpr uint32_t kMostBenchBatch = 1024;

struct ThroughputOptions {
  EngineOptions engine;  // model_dir, backend, dtype, kv_dtype, isa, threads; the rest is fitted
  WorkTrace trace;
  uint32_t documents = 0;  // the trace again and again; 0: once
  uint32_t batch = 32;     // documents that decode at once
  uint32_t repeats = 1;    // the fastest counts
  uint64_t seed = 1;
  bool limit = true;  // also a recorded run, and the limit of what it did
};

struct ThroughputResult : MeasuredRun {
  uint32_t batch = 0;
  uint32_t documents = 0;
  uint64_t source_tokens = 0;
  uint64_t new_tokens = 0;
  double mean_batch = 0;             // rows of a decode step
  uint64_t peak_resident_bytes = 0;  // of the process

  double documents_per_s() const { return documents / total_s; }
  double source_tokens_per_s() const { return static_cast<double>(source_tokens) / total_s; }
  double new_tokens_per_s() const { return static_cast<double>(new_tokens) / total_s; }
};

// `on_progress` (may be empty) hears several times a second how far it is.
StatusOr<ThroughputResult> BenchThroughput(
    const ThroughputOptions& options, const std::function<void(const BenchProgress&)>& on_progress);

}  // namespace precis
