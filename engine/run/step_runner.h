// Runs the steps of a loaded model: it turns a step plan into flat arrays, runs encoder and
// decoder, and picks tokens. It keeps the decoding state of every sequence.
//
// Owner: the engine loop. Thread rule: the step thread; construction anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "engine/api/sequence.h"
#include "engine/decoding/beam_search.h"
#include "engine/decoding/sampler.h"
#include "engine/decoding/token_history.h"
#include "engine/decoding/token_picker.h"
#include "engine/drafting/drafter.h"
#include "engine/run/model.h"
#include "engine/run/model_runner.h"

namespace precis {

// Benchmarks derive from it: they override what they measure.
class StepRunner : public ModelRunner {
 public:
  // Made by LoadModel() (engine/load/load_model.h).
  struct Parts {
    std::unique_ptr<Model> model;
    EncodeCosts encode_costs;          // as timed
    std::unique_ptr<Drafter> drafter;  // for max_sequences
    uint32_t max_sequences = 0;
  };
  explicit StepRunner(Parts parts);

  EncodeShape encode_shape() const final { return model_->encode_shape; }
  EncodeCosts encode_costs() const final { return encode_costs_; }
  uint32_t num_pages() const final { return model_->memory.num_pages(); }
  uint32_t self_slots() const final { return model_->layout.self.slots; }
  uint32_t cross_slots() const final { return model_->layout.cross.slots; }
  void JoinDocument(DocumentId id, std::span<const int32_t> ids) override;
  void LeaveDocument(DocumentId id) override { documents_[id] = {}; }
  void Join(SequenceId id, const RunnerSequence& sequence) override;
  void Leave(SequenceId id) override;
  void ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                     std::vector<uint32_t>* counts) override;
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override;
  Status Check() override { return model_->backend->Wait(); }
  std::vector<Hypothesis> Hypotheses(SequenceId id) const override;

 private:
  struct Sequence {
    std::span<const int32_t> source_ids;
    const GenerationOptions* options = nullptr;
    uint32_t index = 0;    // which of the request's samples
    TokenHistory history;  // without beams
    BeamSearch search;     // with beams
    bool HasBeams() const { return options->num_beams > 1; }
  };

  void Encode(const EncodeSlice& slice, const PageTables& pages);
  void FillBatch(const StepPlan& plan, const PageTables& pages);
  void CopyPages(const StepPlan& plan);
  void AskForTokens(const StepPlan& plan);
  void PickTokens(const StepPlan& plan, StepResult* out);
  int32_t TokenOf(const Sequence& sequence, const DecodeRow& row) const;
  SequenceStep Verify(SequenceId id, size_t begin, size_t rows);
  SequenceStep StepBeams(Sequence& sequence, size_t begin, size_t rows);

  const std::unique_ptr<Model> model_;
  const EncodeCosts encode_costs_;
  const std::unique_ptr<Drafter> drafter_;
  Sampler sampler_;
  TokenPicker picker_;
  std::vector<std::span<const int32_t>> documents_;  // by DocumentId
  std::vector<Sequence> sequences_;                  // by SequenceId
  DecodeBatch batch_;
  uint32_t self_table_ = 0;   // of the row being filled in, where its table begins
  uint32_t cross_table_ = 0;  // likewise
  std::vector<PageCopyRef> copies_;
  std::vector<int32_t> tokens_;                           // [rows], the step's answer
  std::vector<std::span<const TokenScore>> beam_scores_;  // of one search, one a beam
};

}  // namespace precis
