// The real model runner: a loaded T5 with its pages, its encoder workspaces and the decoding state
// of every sequence. It turns a step plan into flat arrays, runs the model and picks tokens.
//
// Owner: the engine loop. Thread rule: Load on one thread, the rest on the step thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/api/model_info.h"
#include "engine/decoding/beam_search.h"
#include "engine/decoding/sampler.h"
#include "engine/decoding/token_history.h"
#include "engine/decoding/token_picker.h"
#include "engine/drafting/drafter.h"
#include "engine/drafting/step_cost.h"
#include "engine/api/engine_options.h"
#include "engine/api/sequence.h"
#include "engine/model/config/model_config.h"
#include "engine/model/kv_layout.h"
#include "engine/model/kv_memory.h"
#include "engine/model/t5_decoder.h"
#include "engine/model/t5_encoder.h"
#include "engine/model/t5_weights.h"
#include "engine/run/model_runner.h"
#include "kernels/backend.h"

namespace precis {

// How many query heads each KV head served for one position.
struct HeadSplit {
  uint32_t layer = 0;
  bool cross = false;
  uint32_t position = 0;
  std::vector<uint32_t> heads;
};

class T5Runner final : public ModelRunner {
 public:
  struct Loaded {
    std::unique_ptr<T5Runner> runner;
    ModelInfo info;
  };
  // Reads and checks the checkpoint, folds and packs, maps the pool, calibrates the encoder's
  // costs.
  static StatusOr<Loaded> Load(const EngineOptions& options);
  // The same on a backend of the caller's choice; options.device, isa and threads are not read.
  static StatusOr<Loaded> LoadOn(std::unique_ptr<Backend> backend, const EngineOptions& options);

  EncodeShape encode_shape() const override { return shape_; }
  EncodeCosts encode_costs() const override { return costs_; }
  uint32_t num_pages() const override { return memory_.num_pages(); }
  uint32_t self_slots() const override { return layout_.self.slots; }
  uint32_t cross_slots() const override { return layout_.cross.slots; }
  void JoinDocument(DocumentId id, std::span<const int32_t> ids) override;
  void LeaveDocument(DocumentId id) override { documents_[id] = {}; }
  void Join(SequenceId id, const RunnerSequence& sequence) override;
  void Leave(SequenceId id) override;
  void ProposeDrafts(std::span<const SequenceId> decoding, uint32_t spare_rows,
                     std::vector<uint32_t>* counts) override;
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override;
  Status Check() override { return backend_->Wait(); }
  std::vector<Hypothesis> Hypotheses(SequenceId id) const override;

  // Takes the place of prompt lookup; before any sequence joins.
  void SetDrafter(std::unique_ptr<Drafter> drafter) { drafter_ = std::move(drafter); }
  StepCost CalibrateSteps(uint32_t max_rows);

  // For verification and tests: what lies between the tokens.
  const T5Weights& weights() const { return weights_; }
  const KvLayout& layout() const { return layout_; }
  const ModelConfig& config() const { return config_; }
  Backend& backend() { return *backend_; }
  // [tokens, d_model] as f32: the final norm's output of a document encoded on its own.
  std::vector<float> Encode(std::span<const int32_t> ids);
  // Teacher-forced logits [target.size(), vocab] for `ids`. `splits` (may be null) gets those of
  // every position and layer, where query heads are dealt out.
  std::vector<float> Logits(std::span<const int32_t> ids, std::span<const int32_t> target,
                            uint64_t noise_seed = 0, std::vector<HeadSplit>* splits = nullptr);

 private:
  struct Sequence {
    std::span<const int32_t> source_ids;
    const GenerationOptions* options = nullptr;
    uint32_t index = 0;    // which of the request's samples
    TokenHistory history;  // without beams
    BeamSearch search;     // with beams
    bool HasBeams() const { return options->num_beams > 1; }
  };

  T5Runner(const EngineOptions& options, ModelConfig config, std::unique_ptr<Backend> backend,
           T5Weights weights, KvLayout layout, KvMemory memory, DeviceAllocator& allocator);

  // Once there is memory for all.
  void CalibrateAndDraft(const EngineOptions& options);
  void Calibrate();
  double TimeItems(uint32_t tokens, EncodeStage stage);
  double TimeStep(uint32_t rows);
  void Encode(const EncodeSlice& slice, const PageTables& pages);
  void FillBatch(const StepPlan& plan, const PageTables& pages);
  void CopyPages(const StepPlan& plan);
  void AskForTokens(const StepPlan& plan);
  void PickTokens(const StepPlan& plan, StepResult* out);
  int32_t TokenOf(const Sequence& sequence, const DecodeRow& row) const;
  SequenceStep Verify(SequenceId id, size_t begin, size_t rows);
  SequenceStep StepBeams(Sequence& sequence, size_t begin, size_t rows);
  void AddSplits(uint32_t position, std::vector<HeadSplit>* out) const;

  const ModelConfig config_;
  const std::unique_ptr<Backend> backend_;
  const T5Weights weights_;
  const KvLayout layout_;
  const KvMemory memory_;
  const EncodeShape shape_;
  const uint32_t max_source_tokens_;
  EncodeCosts costs_;
  T5Encoder encoder_;
  T5Decoder decoder_;
  Sampler sampler_;
  TokenPicker picker_;
  std::unique_ptr<Drafter> drafter_;  // after calibration
  std::vector<EncoderWorkspace> workspaces_;
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
