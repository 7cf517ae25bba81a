// Times the engine on a fixed workload and says how far that is from what this machine could do
// (docs/performance/limit.md). Called by `precis bench`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/engine.h"

namespace precis {

struct BenchCase {
  uint32_t batch = 1;  // documents at once
  uint32_t beams = 1;
  bool operator==(const BenchCase&) const = default;
};

// "1x1,32x1,1x4": batch x beams. INVALID_ARGUMENT naming the part that is none.
StatusOr<std::vector<BenchCase>> ParseBenchCases(std::string_view text);

struct LatencyOptions {
  EngineOptions engine;  // model_dir, backend, dtype, kv_dtype, isa, threads; the rest is fitted
  std::vector<BenchCase> cases;
  uint32_t source_tokens = 512;  // of a document: random ids and </s>
  uint32_t new_tokens = 128;     // of a summary, exactly
  uint32_t repeats = 2;          // the fastest counts
  uint64_t seed = 1;
};

// One kind of op in one phase, of a run of its own in which every op was timed.
struct OpProfile {
  std::string phase;  // "encode", "decode"; "engine": what is neither
  std::string op;     // "gemm 512x2048"; "outside ops": the phase's time less that of its ops
  uint64_t count = 0;
  double seconds = 0;
  double best_seconds = 0;  // had each op taken as long as the fastest of its shape
  double limit_seconds = 0;
  uint64_t flops = 0;
  uint64_t bytes = 0;
};

// A figure of the machine that the limit is made of, as it was measured.
struct MachineFigure {
  std::string name;  // "read 64 MiB", "gemm bf16 M=32"
  double value = 0;
  std::string unit;  // "us", "GB/s", "GFLOP/s"
};

// What a measured run reports, whatever was run.
struct MeasuredRun {
  std::string model;    // the directory's name
  std::string dtype;    // of the weights
  std::string kv_type;  // of keys and values
  std::string device;   // the backend that ran, never auto
  std::string isa;
  uint32_t threads = 0;
  double encode_s = 0;        // of total_s, while documents were encoded
  double total_s = 0;         // from the first submit to the last event
  double encode_limit_s = 0;  // 0 where there is no limit, as limit_s
  double limit_s = 0;
  uint64_t weight_bytes = 0;  // packed, with the embedding
  uint64_t pool_bytes = 0;    // of KV pages
  double load_s = 0;          // the checkpoint, from opening it to a running engine
  std::vector<OpProfile> profile;
  std::vector<MachineFigure> machine;

  double fraction_of_limit() const { return limit_s / total_s; }
};

// Of a process beside weights, pages and workspaces: code, libraries, threads, the benchmark
// itself.
inline constexpr uint64_t kMostOtherBytes = 120'000'000;

struct LatencyResult : MeasuredRun {
  BenchCase of;
  uint32_t source_tokens = 0;
  uint32_t new_tokens = 0;
  uint64_t resident_bytes = 0;   // of the process, after the timed runs
  uint64_t workspace_bytes = 0;  // what steps compute in: activations, scores

  // What the process may hold: all that is there for a reason, and kMostOtherBytes.
  uint64_t resident_bound_bytes() const {
    return weight_bytes + pool_bytes + workspace_bytes + kMostOtherBytes;
  }
  bool resident_holds() const { return resident_bytes <= resident_bound_bytes(); }

  double step_ms() const { return (total_s - encode_s) / new_tokens * 1e3; }
  double step_limit_ms() const { return (limit_s - encode_limit_s) / new_tokens * 1e3; }
  double new_tokens_per_s() const { return of.batch * double{1} * new_tokens / total_s; }
};

struct BenchProgress {
  size_t case_index = 0;
  size_t num_cases = 0;
  std::string name;     // of the case
  std::string what;     // "loading", "run 1 of 2"
  double fraction = 0;  // of the case
};

// The cases in turn, each with an engine of its own. `on_result` and `on_progress` (both may be
// empty) hear of each case as it is done, and several times a second of how far it has come.
// INVALID_ARGUMENT for a case that does not fit into the machine.
Status BenchLatency(const LatencyOptions& options,
                    const std::function<void(const LatencyResult&)>& on_result,
                    const std::function<void(const BenchProgress&)>& on_progress);

}  // namespace precis
