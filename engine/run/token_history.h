// What a sequence has generated, and what follows from it for the next token: repetition penalty,
// no-repeat n-grams, bad words, minimum length, forced first and last token, suppressed tokens, as
// Hugging Face generate() applies them, in that order.
//
// Owner: the runner, one a sequence. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/generation.h"

namespace precis {

// Changes the scores of the token that follows `ids` in place, by nothing but the arguments.
// scores: [vocab], logits or, for beams, log-probabilities. `ids` begin with the start token, which
// counts for penalties and n-grams as it does in generate(). `scratch` needs room for ids.size()
// where there is a repetition penalty, or it grows.
void ProcessScores(const GenerationOptions& options, std::span<const int32_t> ids,
                   int32_t eos_token, std::span<float> scores, std::vector<float>* scratch);

class TokenHistory {
 public:
  // Makes room for all tokens, so that later calls allocate nothing. `options` must outlive the
  // history.
  void Start(const GenerationOptions* options, int32_t start_token, int32_t eos_token);

  // Changes the scores of the next token in place; scores: [vocab].
  void Process(std::span<float> scores) {
    ProcessScores(*options_, ids_, eos_token_, scores, &scratch_);
  }
  void Push(int32_t token) { ids_.push_back(token); }
  // Takes back what was pushed after `generated` tokens.
  void Truncate(uint32_t generated) { ids_.resize(generated + 1); }

  int32_t last() const { return ids_.back(); }
  uint32_t generated() const { return static_cast<uint32_t>(ids_.size()) - 1; }
  const GenerationOptions& options() const { return *options_; }

 private:
  const GenerationOptions* options_ = nullptr;
  int32_t eos_token_ = 1;
  std::vector<int32_t> ids_;  // start token first
  std::vector<float> scratch_;
};

}  // namespace precis
