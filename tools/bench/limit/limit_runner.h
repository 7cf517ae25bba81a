// A runner on which nothing is computed: each step takes exactly the time that this machine needs
// at least for its ops (docs/performance/limit.md), on a simulated clock.
//
// Owner: a benchmark. Thread rule: as ModelRunner.
#pragma once

#include <memory>

#include "engine/run/step_runner.h"
#include "tools/bench/limit/machine_limit.h"
#include "tools/bench/limit/op_recorder.h"
#include "tools/bench/limit/simulated_clock.h"

namespace precis {

class LimitRunner final : public StepRunner {
 public:
  // `recorder` observes the ops of the model, which are computed no more. `figures` have all peaks
  // that steps will need. All three outlive it.
  LimitRunner(Parts parts, OpRecorder* recorder, const MachineFigures& figures,
              SimulatedClock* clock)
      : StepRunner(std::move(parts)), recorder_(recorder), figures_(figures), clock_(clock) {
    recorder_->StopComputing();
    recorder_->RecordInto(&record_);
  }

  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    if (!plan.encodes.empty()) {
      PRECIS_ASSIGN_OR_RETURN(const double encode_s,
                              RunPhase(BenchPhase::kEncode, {plan.encodes, {}, {}}, pages, out));
      clock_->Advance(encode_s);
    }
    PRECIS_ASSIGN_OR_RETURN(
        const double decode_s,
        RunPhase(BenchPhase::kDecode, {{}, plan.copies, plan.decodes}, pages, out));
    clock_->Advance(decode_s);
    out->decode_us = decode_s * 1e6;
    return OkStatus();
  }

 private:
  // The limit of the phase's ops. What is streamed again in each step is all matrices that the
  // phase has used so far and the step's own pages.
  StatusOr<double> RunPhase(BenchPhase phase, const StepPlan& plan, const PageTables& pages,
                            StepResult* out) {
    PhaseRecord& record = record_.of(phase);
    record.ops.clear();
    recorder_->SetPhase(phase);
    PRECIS_RETURN_IF_ERROR(StepRunner::Run(plan, pages, out));
    return PhaseLimitSeconds(record, figures_);
  }

  OpRecorder* const recorder_;
  const MachineFigures& figures_;
  SimulatedClock* const clock_;
  RunRecord record_;
};

}  // namespace precis
