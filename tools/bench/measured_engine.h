// An engine that is loaded for one workload and runs it: timed, or with every op recorded.
//
// Owner: a benchmark. Thread rule: one thread; the step thread of its engine writes what it reads
// only while a run is under way.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/engine.h"
#include "engine/load/load_model.h"
#include "engine/load/load_types.h"
#include "tools/bench/latency.h"
#include "tools/bench/limit/bench_runner.h"
#include "tools/bench/limit/op_recorder.h"
#include "tools/bench/load.h"
#include "tools/bench/work_trace.h"

namespace precis {

// What the engine is fitted to, and no larger.
struct BenchFit {
  WorkTrace items;     // pages for the largest `batch` of them
  uint32_t batch = 1;  // how many run at once
  uint32_t beams = 1;
  uint32_t unfinished = 1;                                         // submitted at most
  double encode_budget = std::numeric_limits<double>::infinity();  // as EngineOptions
};

struct RunTimes {
  double total_s = 0;  // from the first submit to the last event
  PhaseTimes phases;
  double encode_s() const { return phases.seconds[static_cast<size_t>(BenchPhase::kEncode)]; }
};

// Random documents of those lengths; the i-th is of seed + i.
std::vector<LoadRequest> RandomRequests(uint64_t seed, const WorkTrace& items,
                                        const ModelInfo& info);

// A loaded model that fits `fit`, with a recorder of its backend's ops.
struct FittedModel {
  EngineOptions options;
  LoadTypes types{};
  std::unique_ptr<OpRecorder> recorder;  // before the model, whose ops it observes
  const Backend* backend = nullptr;      // the model's
  LoadedModel loaded;
};

// `base`: model_dir, backend, dtype, kv_dtype, isa, threads; the rest is fitted. INVALID_ARGUMENT
// where the pages need more memory than the machine has, with `name` as its subject.
StatusOr<FittedModel> LoadFitted(const EngineOptions& base, const BenchFit& fit,
                                 const std::string& name);

class MeasuredEngine {
 public:
  // An engine around LoadFitted().
  static StatusOr<std::unique_ptr<MeasuredEngine>> Load(const EngineOptions& base,
                                                        const BenchFit& fit,
                                                        const std::string& name);

  // All items at once, to their end. `on_tokens` hears several times a second how many new tokens
  // there are. INTERNAL where an item has not got exactly its tokens.
  StatusOr<RunTimes> Run(const std::vector<LoadRequest>& items,
                         const std::function<void(uint64_t)>& on_tokens);
  // The same with every op recorded.
  StatusOr<RunTimes> RunRecorded(const std::vector<LoadRequest>& items,
                                 const std::function<void(uint64_t)>& on_tokens, RunRecord* record);

  const ModelInfo& info() const { return engine_->info(); }
  const Backend& backend() const { return *backend_; }
  uint64_t workspace_bytes() const { return workspace_bytes_; }
  double load_s() const { return load_s_; }  // reading, packing, calibrating
  // Fills in what is known without a run: model, types, machine, memory, loading.
  void Describe(MeasuredRun* run) const;
  Engine& engine() { return *engine_; }
  EngineStats stats() const { return engine_->stats(); }

 private:
  struct Submitted;

  MeasuredEngine() = default;
  StatusOr<bool> TakeEvents(Submitted* s, TimePoint* last) const;

  const SteadyClock clock_{};
  LoadTypes types_{};
  uint32_t beams_ = 1;
  uint64_t workspace_bytes_ = 0;
  double load_s_ = 0;
  PhaseTimes phases_;  // of the run under way; before the engine, which writes here
  // Observes the ops of the engine's backend; before the engine.
  std::unique_ptr<OpRecorder> recorder_;
  const Backend* backend_ = nullptr;  // the engine's
  std::unique_ptr<Engine> engine_;
};

// Of this process: now, and the most it ever was.
uint64_t ResidentBytes();
uint64_t PeakResidentBytes();

}  // namespace precis
