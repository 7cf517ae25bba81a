// What a sequence has generated, and what follows from it for the next token: repetition penalty,
// no-repeat n-grams, bad words, minimum length, forced first and last token, suppressed tokens, as
// Hugging Face generate() applies them, in that order.
//
// Owner: the runner, one a sequence. Thread rule: the step thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/api/generation.h"

namespace precis {

// What processing does to one token's score.
struct ScoreEdit {
  int32_t token;
  bool banned;  // else penalised for repetition
};

// Appends the edits of the token that follows `ids`, by nothing but the arguments, in ascending
// order of tokens, one each. `ids` begin with the start token, which counts for penalties and
// n-grams as it does in generate(). Not where a token is forced.
void AppendScoreEdits(const GenerationOptions& options, std::span<const int32_t> ids,
                      std::span<const int32_t> end_tokens, std::vector<ScoreEdit>* edits);
// The most that AppendScoreEdits() appends, before it leaves out what is there twice.
size_t MaxScoreEdits(const GenerationOptions& options, size_t num_ends);

// A number beyond float's range as its end, so that sums and quotients stay numbers.
float Saturated(float score);

// The score after the edit; of logits or, for beams, of log-probabilities. Finite, or -inf where it
// is impossible.
float Edited(const ScoreEdit& edit, const GenerationOptions& options, float score);

// The tokens of which one must follow `num_ids` ids; empty where nothing is forced.
std::span<const int32_t> ForcedTokens(const GenerationOptions& options, size_t num_ids);
// Hides all scores but those of the forced tokens, which are 0; what is suppressed stays so.
void ForceScores(std::span<const int32_t> tokens, const GenerationOptions& options,
                 std::span<float> scores);

class TokenHistory {
 public:
  // Makes room for all tokens, so that later calls allocate nothing. `options` must outlive the
  // history.
  void Start(const GenerationOptions* options, int32_t start_token);

  void Push(int32_t token) { ids_.push_back(token); }
  // Takes back what was pushed after `generated` tokens.
  void Truncate(uint32_t generated) { ids_.resize(generated + 1); }

  std::span<const int32_t> ids() const { return ids_; }  // start token first
  int32_t last() const { return ids_.back(); }
  uint32_t generated() const { return static_cast<uint32_t>(ids_.size()) - 1; }
  const GenerationOptions& options() const { return *options_; }

 private:
  const GenerationOptions* options_ = nullptr;
  std::vector<int32_t> ids_;  // start token first
};

}  // namespace precis
