#include "engine/run/token_history.h"

#include <algorithm>
#include <limits>

namespace precis {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

}  // namespace

void TokenHistory::Start(const GenerationOptions* options, int32_t start_token,
                         int32_t eos_token) {
  options_ = options;
  eos_token_ = eos_token;
  ids_.clear();
  seen_.clear();
  ids_.reserve(options->max_new_tokens + 1);
  if (options->repetition_penalty != 1.0f) seen_.reserve(options->max_new_tokens + 1);
  Push(start_token);
}

void TokenHistory::Push(int32_t token) {
  ids_.push_back(token);
  if (options_->repetition_penalty != 1.0f &&
      std::find(seen_.begin(), seen_.end(), token) == seen_.end()) {
    seen_.push_back(token);
  }
}

void TokenHistory::Process(std::span<float> scores) const {
  if (options_->repetition_penalty != 1.0f) PenalizeRepetition(scores);
  if (options_->no_repeat_ngram_size > 0) BanNgrams(scores);
  if (generated() < options_->min_new_tokens) scores[eos_token_] = kBanned;
}

void TokenHistory::PenalizeRepetition(std::span<float> scores) const {
  const float penalty = options_->repetition_penalty;
  for (const int32_t id : seen_) {
    scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
  }
}

// Bans every token that followed an earlier occurrence of the last n-1 tokens.
void TokenHistory::BanNgrams(std::span<float> scores) const {
  const size_t n = options_->no_repeat_ngram_size;
  if (ids_.size() + 1 < n) return;
  const auto tail = ids_.end() - static_cast<ptrdiff_t>(n - 1);
  for (size_t i = 0; i + n <= ids_.size(); ++i) {
    const auto begin = ids_.begin() + static_cast<ptrdiff_t>(i);
    if (std::equal(tail, ids_.end(), begin)) scores[ids_[i + n - 1]] = kBanned;
  }
}

}  // namespace precis
