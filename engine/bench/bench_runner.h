// A runner around another one that times encoding and decoding apart and tells an OpRecorder which
// of them is under way.
//
// Owner: the engine. Thread rule: as ModelRunner; its times are read while no sequence is
// unfinished.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "engine/bench/op_recorder.h"
#include "engine/run/model_runner.h"

namespace precis {

struct PhaseTimes {
  double seconds[2] = {0, 0};   // [BenchPhase]
  uint64_t passes[2] = {0, 0};  // documents encoded, decode steps
};

class BenchRunner final : public ModelRunner {
 public:
  // `recorder` and `times` outlive it.
  BenchRunner(std::unique_ptr<ModelRunner> inner, OpRecorder* recorder, PhaseTimes* times)
      : inner_(std::move(inner)), recorder_(recorder), times_(times) {}

  EncodeShape encode_shape() const override { return inner_->encode_shape(); }
  EncodeCosts encode_costs() const override { return inner_->encode_costs(); }
  uint32_t num_pages() const override { return inner_->num_pages(); }
  uint32_t self_slots() const override { return inner_->self_slots(); }
  uint32_t cross_slots() const override { return inner_->cross_slots(); }
  void JoinDocument(DocumentId id, std::span<const int32_t> ids) override {
    inner_->JoinDocument(id, ids);
  }
  void LeaveDocument(DocumentId id) override { inner_->LeaveDocument(id); }
  void Join(SequenceId id, const RunnerSequence& sequence) override { inner_->Join(id, sequence); }
  void Leave(SequenceId id) override { inner_->Leave(id); }
  void ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                     std::vector<uint32_t>* counts) override {
    inner_->ProposeDrafts(decoding, spare_rows, counts);
  }
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    if (!plan.encodes.empty()) {
      for (const EncodeSlice& slice : plan.encodes) CountPasses(BenchPhase::kEncode, slice.last);
      PRECIS_RETURN_IF_ERROR(RunPhase(BenchPhase::kEncode, {plan.encodes, {}, {}}, pages, out));
    }
    if (!plan.decodes.empty()) CountPasses(BenchPhase::kDecode, 1);
    return RunPhase(BenchPhase::kDecode, {{}, plan.copies, plan.decodes}, pages, out);
  }
  std::vector<Hypothesis> Hypotheses(SequenceId id) const override {
    return inner_->Hypotheses(id);
  }

 private:
  void CountPasses(BenchPhase phase, uint64_t passes) {
    times_->passes[static_cast<size_t>(phase)] += passes;
  }
  Status RunPhase(BenchPhase phase, const StepPlan& plan, const PageTables& pages,
                  StepResult* out) {
    recorder_->SetPhase(phase);
    const TimePoint start = clock_.Now();
    const Status status = inner_->Run(plan, pages, out);
    times_->seconds[static_cast<size_t>(phase)] += Seconds(clock_.Now() - start);
    return status;
  }

  const std::unique_ptr<ModelRunner> inner_;
  OpRecorder* const recorder_;
  PhaseTimes* const times_;
  const SteadyClock clock_;
};

}  // namespace precis
