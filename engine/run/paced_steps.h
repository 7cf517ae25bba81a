// What the engine loop decides of a step, apart from threads, queues and events: how much encoder
// work and how many drafts it may hold, and what the time that it took teaches. The loop runs on
// it, and so does the simulated one (tools/bench/simulated_load.h).
//
// Owner: the engine loop. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/api/engine_options.h"
#include "engine/run/model_runner.h"
#include "engine/sched/encode_pace.h"
#include "engine/sched/scheduler.h"

namespace precis {

SchedulerOptions SchedulerOptionsOf(const EngineOptions& options, const ModelRunner& runner);

// Encoder work of a plan.
struct PlannedEncodes {
  uint64_t rows = 0;
  double predicted_us = 0;
  uint64_t finished_tokens = 0;  // of documents that are encoded when the step is done
};

class PacedSteps {
 public:
  // `scheduler` and `runner` outlive it.
  PacedSteps(const EngineOptions& options, Scheduler& scheduler, ModelRunner& runner);

  // The next step; requires that the scheduler is not idle.
  const StepPlan& Next();
  // That step was run and took `step_us`, of which its decode rows `decode_us`. Before Apply().
  PlannedEncodes Observe(const StepPlan& plan, double step_us, double decode_us);

 private:
  Scheduler& scheduler_;
  ModelRunner& runner_;
  const EncodeCosts encode_costs_;
  EncodePace pace_;
  std::vector<uint32_t> drafts_;  // wanted, in the order of scheduler_.decoding_sequences()
};

}  // namespace precis
