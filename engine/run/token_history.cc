#include "engine/run/token_history.h"

#include <algorithm>
#include <limits>
#include <optional>

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

// Bans the last token of every word whose others were generated just now. The start token
// may begin a word, as it does for transformers 5.23 (5.5 did not look at it); the end alone is no
// word.
void BanWords(std::span<const std::vector<int32_t>> words, std::span<const int32_t> ids,
              int32_t eos_token, std::span<float> scores) {
  for (const std::vector<int32_t>& word : words) {
    const bool only_end = word.size() == 1 && word[0] == eos_token;
    if (only_end || word.size() - 1 > ids.size()) continue;
    const std::span<const int32_t> tail = ids.last(word.size() - 1);
    if (std::equal(tail.begin(), tail.end(), word.begin())) scores[word.back()] = kBanned;
  }
}

// The one token that may follow `num_ids` ids, if there is only one.
std::optional<int32_t> ForcedToken(const GenerationOptions& options, size_t num_ids) {
  if (num_ids == options.max_new_tokens && options.forced_eos_token_id) {
    return options.forced_eos_token_id;
  }
  return num_ids == 1 ? options.forced_bos_token_id : std::nullopt;
}

void Penalize(const GenerationOptions& options, std::span<const int32_t> ids, int32_t eos_token,
              std::span<float> scores, std::vector<float>* scratch) {
  if (options.repetition_penalty != 1.0f) {
    PenalizeRepetition(options.repetition_penalty, ids, scores, scratch);
  }
  if (options.no_repeat_ngram_size > 0) BanNgrams(options.no_repeat_ngram_size, ids, scores);
  BanWords(options.bad_words, ids, eos_token, scores);
  if (ids.size() - 1 < options.min_new_tokens) scores[eos_token] = kBanned;
}

}  // namespace

// In the order of generate()'s _get_logits_processor(). What it forces hides all that came before,
// and scores 0, which a beam's sum shows; what it suppresses stays so even where it is forced.
void ProcessScores(const GenerationOptions& options, std::span<const int32_t> ids,
                   int32_t eos_token, std::span<float> scores, std::vector<float>* scratch) {
  if (const std::optional<int32_t> forced = ForcedToken(options, ids.size())) {
    std::fill(scores.begin(), scores.end(), kBanned);
    scores[*forced] = 0;
  } else {
    Penalize(options, ids, eos_token, scores, scratch);
  }
  for (const int32_t id : options.suppressed_token_ids) scores[id] = kBanned;
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
