// What a sequence has generated, and what follows from it for the next token: repetition penalty,
// no-repeat n-grams, minimum length, as Hugging Face generate() applies them, in that order.
//
// Owner: the runner, one a sequence. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/generation.h"

namespace precis {

class TokenHistory {
 public:
  // `start_token` counts for penalties and n-grams, as it does in generate(). Makes room for all
  // tokens, so that later calls allocate nothing. `options` must outlive the history.
  void Start(const GenerationOptions* options, int32_t start_token, int32_t eos_token);

  // Changes the scores of the next token in place; scores: [vocab].
  void Process(std::span<float> scores) const;
  void Push(int32_t token);

  int32_t last() const { return ids_.back(); }
  uint32_t generated() const { return static_cast<uint32_t>(ids_.size()) - 1; }
  const GenerationOptions& options() const { return *options_; }

 private:
  void PenalizeRepetition(std::span<float> scores) const;
  void BanNgrams(std::span<float> scores) const;

  const GenerationOptions* options_ = nullptr;
  int32_t eos_token_ = 1;
  std::vector<int32_t> ids_;   // start token first
  std::vector<int32_t> seen_;  // distinct ids; kept only where a penalty asks for them
};

}  // namespace precis
