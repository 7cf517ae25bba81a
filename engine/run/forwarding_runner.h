// A runner that passes every call on to another one; what stands between them overrides what it
// measures or changes. Owner: the engine loop. Thread rule: as ModelRunner.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "engine/run/model_runner.h"

namespace precis {

class ForwardingRunner : public ModelRunner {
 public:
  explicit ForwardingRunner(std::unique_ptr<ModelRunner> inner) : inner_(std::move(inner)) {}

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
    return inner_->Run(plan, pages, out);
  }
  Status Check() override { return inner_->Check(); }
  std::vector<Hypothesis> Hypotheses(SequenceId id) const override {
    return inner_->Hypotheses(id);
  }

 private:
  const std::unique_ptr<ModelRunner> inner_;
};

}  // namespace precis
