// From the vocabulary's scores, which come panel by panel, to what each row of a step asks of them:
// the best tokens under its penalties and bans, log-probabilities for a beam, or all of its scores
// for sampling. Only those last ones are ever kept; a panel is reduced while it is in cache.
//
// Scores that processing may change are taken out of a panel before it is reduced, and join again
// at the end: so any processing costs what it touches, not a pass over the vocabulary.
//
// Owner: the runner. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/api/generation.h"
#include "engine/decoding/token_history.h"
#include "engine/model/decoder.h"
#include "kernels/backend.h"

namespace precis {

class TokenPicker final : public VocabularySink {
 public:
  // `end_tokens`: kMaxEndTokens at most.
  TokenPicker(uint32_t vocab_size, uint32_t max_rows, std::vector<int32_t> end_tokens,
              Backend& backend);

  // Makes room for a request's rows, so that its steps allocate nothing.
  void Reserve(const GenerationOptions& options);

  // A step: rows are added in the order in which the model computes them, the model runs, the
  // backend is waited for, Finish().
  void Clear();
  // The row whose next token follows `ids` (start token first). `options` live until Finish().
  void AddRow(const GenerationOptions& options, std::span<const int32_t> ids);
  void Take(int32_t first_token, size_t count, float* scores) override;
  void Finish();

  // The best tokens of a row, at most one, or BeamSearch::CandidatesPerBeam() for a beam (with
  // log-probabilities then): descending, lower tokens first among equals. None that is impossible;
  // all scores are finite, those beyond float's range are its end.
  std::span<const TokenScore> best(size_t row) const {
    return reductions_[row].best.first(reductions_[row].num_best);
  }
  // False where the model's scores overflowed, of any token, whatever is done with that token's:
  // one is NaN or +inf, or their sum is beyond all numbers. Nothing can be picked then.
  bool is_number(size_t row) const { return !(reductions_[row].max != reductions_[row].max); }
  // All scores of a row that samples, processed; they may be changed.
  std::span<float> scores(size_t row) {
    return std::span(scores_).subspan(row * vocab_size_, vocab_size_);
  }

 private:
  struct Row {
    const GenerationOptions* options;
    std::span<const int32_t> forced;  // of the options
    size_t first_edit;                // of edits_; they end where the next row's begin
    size_t end_edit;
    size_t next_edit;  // the first whose token has not come by
  };

  void AddPlaces(uint32_t index, int64_t end_token);
  bool Overflowed(const Row& row, const ScoreReduction& reduction) const;
  void FinishBest(const Row& row, ScoreReduction* reduction);
  void FinishSampled(const Row& row, size_t index);

  const uint32_t vocab_size_;
  const std::vector<int32_t> end_tokens_;
  Backend& backend_;
  size_t max_edits_ = 0;  // of one row
  std::vector<Row> rows_;
  std::vector<ScoreReduction> reductions_;  // [rows]
  std::vector<TokenScore> best_;            // [max_rows, the most that a beam wants]
  std::vector<ScoreEdit> edits_;            // of all rows
  std::vector<float> edited_;               // [edits], the score that was taken out
  std::vector<ScorePlace> places_;          // of a panel
  std::vector<uint32_t> sampled_;           // rows that sample
  std::vector<float> scores_;               // [max_rows, vocab]; rows that sample
};

}  // namespace precis
