// Drafts that a test decides over: where they come from and how many are fed; and an engine that
// writes down the logits behind every token that stands.
//
// Thread rule: one test thread, and the engine's step thread.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/drafting/prompt_lookup.h"
#include "engine/run/step_runner.h"
#include "kernels/backend.h"
#include "tools/verify/blocking_run.h"

namespace precis {

using Ids = std::vector<int32_t>;

// Feeds as many drafts as there are and rows allow, in some steps fewer: no clock decides.
class EagerPolicy final : public DraftPolicy {
 public:
  bool CanPay(const PlainStep& /*step*/) const override { return true; }
  void Plan(const PlainStep& step, std::span<const DraftCandidate> candidates,
            std::vector<uint32_t>* counts) override {
    counts->assign(candidates.size(), 0);
    uint32_t spare = step.spare_rows;
    for (size_t i = 0; i < candidates.size(); ++i) {
      const uint32_t most = 1 + (steps_ + 5 * static_cast<uint32_t>(i)) % kMaxDrafts;
      (*counts)[i] = std::min({candidates[i].draft.tokens, spare, most});
      spare -= (*counts)[i];
    }
    ++steps_;
  }
  void ObserveDraft(const Draft& /*draft*/, uint32_t /*fed*/, uint32_t /*stood*/,
                    DraftRecord* /*record*/) override {}
  void ObserveStep(const PlainStep& /*step*/, uint32_t /*rows*/, uint32_t /*stood*/,
                   double /*us*/) override {}

 private:
  uint32_t steps_ = 0;
};

// Proposes any tokens, and for sequences whose answer is known its tokens, every seventh wrong.
class AnswerSource final : public DraftSource {
 public:
  AnswerSource(std::vector<Ids> answers, uint32_t max_sequences, uint32_t vocab_size)
      : answers_(std::move(answers)), vocab_size_(vocab_size), at_(max_sequences) {}
  // The answer's index is the request's seed.
  void Join(SequenceId id, std::span<const int32_t> /*source_ids*/,
            const GenerationOptions& options) override {
    at_[id] = {options.seed, 0};
  }
  void Push(SequenceId id, int32_t /*token*/) override { ++at_[id].second; }
  Draft Propose(SequenceId id, std::span<int32_t> out) override {
    const auto [answer, begin] = at_[id];
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t position = begin + i;
      const bool known = answer < answers_.size() && position < answers_[answer].size();
      out[i] = known && position % 7 != 3
                   ? answers_[answer][position]
                   : static_cast<int32_t>((position * 31 + 7 * answer) % vocab_size_);
    }
    return {static_cast<uint32_t>(out.size()), 1};
  }

 private:
  const std::vector<Ids> answers_;
  const uint32_t vocab_size_;
  std::vector<std::pair<uint64_t, size_t>> at_;  // by SequenceId: answer, position
};

// Bits of the scores from which a token was chosen, by (seed of the request, position).
using Scores = std::map<std::pair<uint64_t, uint32_t>, std::vector<float>>;

class ScoresObserver final : public OpObserver {
 public:
  explicit ScoresObserver(std::vector<std::vector<float>>* rows) : rows_(rows) {}
  bool Begin(const OpCall& op) override {
    const auto* p = op.As<ReduceScoresParams>();
    if (p == nullptr) return true;
    size_t row = 0;  // of those without beams
    for (size_t i = 0; i < p->rows.size(); ++i) {
      if (p->rows[i].wants_sum) continue;
      if (p->first_token == 0) rows_->emplace_back();
      const float* scores = p->scores + i * p->count;
      (*rows_)[row].insert((*rows_)[row].end(), scores, scores + p->count);
      ++row;
    }
    return true;
  }

 private:
  std::vector<std::vector<float>>* const rows_;
};

// Keeps the scores of rows that stand.
class ScoresRunner final : public StepRunner {
 public:
  ScoresRunner(Parts parts, std::vector<std::vector<float>>* rows, Scores* scores)
      : StepRunner(std::move(parts)), rows_(rows), scores_(scores) {}
  void Join(SequenceId id, const RunnerSequence& sequence) override {
    if (id >= options_.size()) options_.resize(id + 1);
    options_[id] = sequence.options;
    StepRunner::Join(id, sequence);
  }
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    rows_->clear();
    PRECIS_RETURN_IF_ERROR(StepRunner::Run(plan, pages, out));
    size_t sequence = 0;  // of the step
    size_t row = 0;       // of those without beams
    for (const DecodeRow& r : plan.decodes) {
      if (&r != plan.decodes.data() && r.beam == 0 && r.draft == 0) ++sequence;
      const GenerationOptions& options = *options_[r.sequence];
      if (options.num_beams > 1) continue;
      std::vector<float>& scores = (*rows_)[row++];
      if (r.draft >= out->sequences[sequence].tokens.size()) continue;
      (*scores_)[{options.seed, r.position}] = std::move(scores);
    }
    return OkStatus();
  }

 private:
  std::vector<std::vector<float>>* const rows_;
  Scores* const scores_;
  std::vector<const GenerationOptions*> options_;  // by SequenceId
};

}  // namespace precis
