// A model runner without a model: tokens are a function of the source and the position, so every
// test knows what each request must answer, and a test can make it slow, stuck or faulty.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "engine/api/model_info.h"
#include "engine/engine.h"
#include "engine/run/model_runner.h"

namespace precis {

struct FakeModel {
  uint32_t vocab_size = 512;
  uint32_t pages = 256;
  uint32_t slots = 4;                      // of both kinds
  std::chrono::microseconds step_time{0};  // a step that decodes takes this long
};

// What the caller may turn while the engine runs; must outlive the engine.
struct FakeControl {
  std::atomic<bool> stuck{false};        // Run() does not return while set
  std::atomic<bool> fail_next{false};    // the next Run() fails as a whole
  std::atomic<bool> device_lost{false};  // no Run() succeeds any more
  std::atomic<int32_t> fail_source{-1};  // rows of sources that begin with this id fail
  std::atomic<uint64_t> runs{0};
};

// The answer to a source: ids 3 .. vocab-1; the length is the source's second id (if there is one
// and it is less than max_new_tokens), then </s>. Samples of a source differ by their index.
inline std::vector<int32_t> FakeAnswer(std::span<const int32_t> source, uint32_t max_new_tokens,
                                       uint32_t vocab_size, uint32_t sample = 0) {
  uint64_t h = 1469598103934665603u + sample;
  for (const int32_t id : source) h = (h ^ static_cast<uint64_t>(id)) * 1099511628211u;
  const uint32_t length = source.size() > 1 ? static_cast<uint32_t>(source[1]) : max_new_tokens;
  std::vector<int32_t> out;
  for (uint32_t i = 0; i < std::min(length, max_new_tokens); ++i) {
    h = (h ^ i) * 1099511628211u;
    out.push_back(static_cast<int32_t>(3 + (h >> 20) % (vocab_size - 3)));
  }
  return out;
}

class FakeRunner final : public ModelRunner {
 public:
  explicit FakeRunner(const FakeModel& model, FakeControl* control = nullptr)
      : model_(model), control_(control) {}

  EncodeShape encode_shape() const override { return {2, 2, 64}; }
  EncodeCosts encode_costs() const override { return {0.1, 0.1, 0.0, 0.1}; }
  uint32_t num_pages() const override { return model_.pages; }
  uint32_t self_slots() const override { return model_.slots; }
  uint32_t cross_slots() const override { return model_.slots; }

  void JoinDocument(DocumentId id, std::span<const int32_t> /*ids*/) override {
    if (!documents_.insert(id).second) std::abort();
  }
  void LeaveDocument(DocumentId id) override {
    if (documents_.erase(id) != 1) std::abort();
  }
  void Join(SequenceId id, const RunnerSequence& sequence) override {
    if (id >= sequences_.size()) sequences_.resize(id + 1);
    sequences_[id] = {sequence.source_ids.front(), sequence.max_new_tokens,
                      FakeAnswer(sequence.source_ids, sequence.max_new_tokens, model_.vocab_size,
                                 sequence.sequence_index)};
  }
  void Leave(SequenceId id) override { sequences_[id] = {}; }

  Status Run(const StepPlan& plan, const PageTables& /*pages*/, StepResult* out) override {
    if (control_ != nullptr) {
      ++control_->runs;
      while (control_->stuck.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (control_->device_lost.load()) return Check();
      if (control_->fail_next.exchange(false)) return Internal("the fake device failed");
    }
    out->sequences.clear();
    out->decode_us = static_cast<double>(model_.step_time.count());
    if (plan.decodes.empty()) return OkStatus();
    if (model_.step_time.count() > 0) std::this_thread::sleep_for(model_.step_time);
    for (const DecodeRow& row : plan.decodes) {
      const Sequence& s = sequences_[row.sequence];
      const bool ended = row.position >= s.answer.size();
      const bool fails = control_ != nullptr && control_->fail_source.load() == s.first_id;
      if (row.beam > 0) continue;
      SequenceStep step;
      step.tokens = {ended ? kEnd : s.answer.data() + row.position, 1};
      step.failed = fails;
      step.finished = ended || row.position + 1 == s.max_new_tokens;
      step.parents = kParents;
      out->sequences.push_back(step);
    }
    return OkStatus();
  }

  Status Check() override {
    const bool lost = control_ != nullptr && control_->device_lost.load();
    return lost ? Internal("the fake device is lost") : OkStatus();
  }

  std::vector<Hypothesis> Hypotheses(SequenceId id) const override {
    return {{sequences_[id].answer, -1.0, FinishReason::kEndOfSequence},
            {{}, -2.0, FinishReason::kEndOfSequence}};
  }

 private:
  // With beams: every beam continues beam 0, whose answer is the best hypothesis.
  static constexpr uint32_t kParents[] = {0, 0};
  static constexpr int32_t kEnd[] = {1};

  struct Sequence {
    int32_t first_id = 0;
    uint32_t max_new_tokens = 0;
    std::vector<int32_t> answer;
  };
  const FakeModel model_;
  FakeControl* const control_;
  std::vector<Sequence> sequences_;
  std::set<DocumentId> documents_;
};

inline ModelInfo FakeInfo(const FakeModel& model) {
  ModelInfo info;
  info.name = "fake";
  info.fingerprint = "0123456789abcdef";
  info.architecture = "fake";
  info.attention_variant = "mha";
  info.vocab_size = model.vocab_size;
  info.self_kv_heads = info.cross_kv_heads = {1, 1};
  info.self_slots = info.cross_slots = model.slots;
  info.page_bytes = 4096;
  info.pool_pages = model.pages;
  info.numerics = "none";
  return info;
}

inline std::unique_ptr<Engine> MakeFakeEngine(const EngineOptions& options, const FakeModel& model,
                                              FakeControl* control = nullptr) {
  return Engine::CreateWithRunner(options, std::make_unique<FakeRunner>(model, control),
                                  FakeInfo(model))
      .value();
}

}  // namespace precis
