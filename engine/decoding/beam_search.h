// Beam search of one sequence, as Hugging Face generate() does it: which beams go on with which
// token, which hypotheses are finished, when nothing better can come. Data only: scores come in,
// choices come out; the model, the processing of scores and the pages are elsewhere.
//
// Owner: the runner, one a sequence with beams. Thread rule: the step thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/api/generation.h"
#include "kernels/ops.h"

namespace precis {

class BeamSearch {
 public:
  // A finished sequence. Valid until the next Step() or Start().
  struct Hypothesis {
    std::span<const int32_t> ids;  // start token first, the end token included
    float score;  // sum of log-probabilities / (number of new tokens) ^ length_penalty; finite
  };

  // Takes from the options: num_beams, num_return_sequences, max_new_tokens, length_penalty,
  // early_stopping; they and the ends must outlive the search. Makes room for all
  // steps, so that later calls allocate nothing.
  void Start(const GenerationOptions* options, int32_t start_token,
             std::span<const int32_t> end_tokens);

  // Beams that the next step continues: one at first, then num_beams, unless fewer are possible;
  // none when finished().
  uint32_t live() const { return live_; }
  std::span<const int32_t> ids(uint32_t beam) const;  // start token first
  uint32_t generated() const { return length_ - 1; }
  bool finished() const { return finished_; }

  // As many candidates of each beam as a step may need: all of its ends, and as many again as keep
  // all beams going.
  static constexpr uint32_t CandidatesPerBeam(uint32_t num_beams, size_t num_ends) {
    return num_beams + std::max(num_beams, static_cast<uint32_t>(num_ends));
  }
  uint32_t candidates_per_beam() const {
    return CandidatesPerBeam(options_->num_beams, end_tokens_.size());
  }

  // One token on: rows[i] are the best candidates_per_beam() candidates of live beam i (fewer where
  // fewer are possible), as BestCandidates() gives them. Requires !finished().
  void Step(std::span<const std::span<const TokenScore>> rows);

  // Of the last step, where it did not finish: entry i is the beam that is now beam i.
  std::span<const uint32_t> parents() const { return {parents_.data(), live_}; }

  // Hypotheses kept so far, best first, num_return_sequences at most. When finished there are as
  // many, unless fewer sequences are possible at all.
  uint32_t num_hypotheses() const;
  Hypothesis hypothesis(uint32_t rank) const;

 private:
  struct Choice {
    float total;
    uint32_t beam;
    int32_t token;
  };
  struct Kept {
    float score;
    uint32_t length;
    uint32_t slot;  // row of kept_ids_
  };

  void Choose(std::span<const std::span<const TokenScore>> rows);
  void Keep(const Choice& choice);
  void Continue(const Choice& choice, uint32_t beam);
  bool CanImprove() const;
  float LengthPenalty(uint32_t new_tokens) const;
  std::span<int32_t> Row(uint32_t buffer, uint32_t beam) {
    return {ids_.data() + (size_t{buffer} * options_->num_beams + beam) * capacity_, capacity_};
  }

  const GenerationOptions* options_ = nullptr;
  std::span<const int32_t> end_tokens_;
  uint32_t capacity_ = 0;  // ids that a beam can have
  uint32_t length_ = 1;    // ids that every live beam has
  uint32_t live_ = 0;
  uint32_t buffer_ = 0;  // which half of ids_ and scores_ counts
  bool finished_ = true;
  std::vector<int32_t> ids_;       // [2, num_beams, capacity]
  std::vector<float> scores_;      // [2, num_beams], sums of log-probabilities
  std::vector<uint32_t> parents_;  // [num_beams]
  std::vector<Choice> choices_;    // of a step, best first
  std::vector<Kept> kept_;         // best first, num_beams at most
  std::vector<int32_t> kept_ids_;  // [num_beams, capacity]
};

}  // namespace precis
