#include "engine/run/token_history.h"

#include <algorithm>
#include <limits>

namespace precis {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

// An id is penalised once, however often it occurs: all scores are read before any is written.
void PenalizeRepetition(float penalty, std::span<const int32_t> ids, std::span<float> scores,
                        std::vector<float>* scratch) {
  scratch->clear();
  for (const int32_t id : ids) {
    const float score = scores[id];
    scratch->push_back(score < 0 ? score * penalty : score / penalty);
  }
  for (size_t i = 0; i < ids.size(); ++i) scores[ids[i]] = (*scratch)[i];
}

// Bans every token that followed an earlier occurrence of the last n-1 tokens.
void BanNgrams(size_t n, std::span<const int32_t> ids, std::span<float> scores) {
  if (ids.size() + 1 < n) return;
  const std::span<const int32_t> tail = ids.last(n - 1);
  for (size_t i = 0; i + n <= ids.size(); ++i) {
    if (std::equal(tail.begin(), tail.end(), ids.begin() + static_cast<ptrdiff_t>(i))) {
      scores[ids[i + n - 1]] = kBanned;
    }
  }
}

}  // namespace

void ProcessScores(const GenerationOptions& options, std::span<const int32_t> ids,
                   int32_t eos_token, std::span<float> scores, std::vector<float>* scratch) {
  if (options.repetition_penalty != 1.0f) {
    PenalizeRepetition(options.repetition_penalty, ids, scores, scratch);
  }
  if (options.no_repeat_ngram_size > 0) BanNgrams(options.no_repeat_ngram_size, ids, scores);
  if (ids.size() - 1 < options.min_new_tokens) scores[eos_token] = kBanned;
}

void TokenHistory::Start(const GenerationOptions* options, int32_t start_token, int32_t eos_token) {
  options_ = options;
  eos_token_ = eos_token;
  ids_.clear();
  ids_.reserve(options->max_new_tokens + 1);
  if (options->repetition_penalty != 1.0f) scratch_.reserve(options->max_new_tokens + 1);
  Push(start_token);
}

}  // namespace precis
