// A runner that times encoding and decoding apart, and tells an OpRecorder which of them is under
// way.
//
// Owner: the engine. Thread rule: as ModelRunner; its times are read while no sequence is
// unfinished.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "engine/run/step_runner.h"
#include "tools/bench/limit/op_recorder.h"

namespace precis {

struct PhaseTimes {
  double seconds[2] = {0, 0};   // [BenchPhase]
  uint64_t passes[2] = {0, 0};  // documents encoded, decode steps
};

class BenchRunner final : public StepRunner {
 public:
  // `recorder` and `times` outlive it.
  BenchRunner(Parts parts, OpRecorder* recorder, PhaseTimes* times)
      : StepRunner(std::move(parts)), recorder_(recorder), times_(times) {}

  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    if (!plan.encodes.empty()) {
      for (const EncodeSlice& slice : plan.encodes) CountPasses(BenchPhase::kEncode, slice.last);
      PRECIS_RETURN_IF_ERROR(RunPhase(BenchPhase::kEncode, {plan.encodes, {}, {}}, pages, out));
    }
    if (!plan.decodes.empty()) CountPasses(BenchPhase::kDecode, 1);
    return RunPhase(BenchPhase::kDecode, {{}, plan.copies, plan.decodes}, pages, out);
  }

 private:
  void CountPasses(BenchPhase phase, uint64_t passes) {
    times_->passes[static_cast<size_t>(phase)] += passes;
  }
  Status RunPhase(BenchPhase phase, const StepPlan& plan, const PageTables& pages,
                  StepResult* out) {
    recorder_->SetPhase(phase);
    const TimePoint start = clock_.Now();
    const Status status = StepRunner::Run(plan, pages, out);
    times_->seconds[static_cast<size_t>(phase)] += Seconds(clock_.Now() - start);
    return status;
  }

  OpRecorder* const recorder_;
  PhaseTimes* const times_;
  const SteadyClock clock_;
};

}  // namespace precis
