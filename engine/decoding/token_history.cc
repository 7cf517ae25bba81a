#include "engine/decoding/token_history.h"

#include <algorithm>
#include <limits>

namespace precis {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

// Bans every token that followed an earlier occurrence of the last n-1 tokens.
void BanNgrams(size_t n, std::span<const int32_t> ids, std::vector<ScoreEdit>* edits) {
  if (ids.size() + 1 < n) return;
  const std::span<const int32_t> tail = ids.last(n - 1);
  for (size_t i = 0; i + n <= ids.size(); ++i) {
    if (std::equal(tail.begin(), tail.end(), ids.begin() + static_cast<ptrdiff_t>(i))) {
      edits->push_back({ids[i + n - 1], true});
    }
  }
}

// Bans the last token of every word whose others were generated just now. The start token
// may begin a word, as it does for transformers 5.23 (5.5 did not look at it); an end alone is no
// word.
void BanWords(std::span<const std::vector<int32_t>> words, std::span<const int32_t> ids,
              std::span<const int32_t> end_tokens, std::vector<ScoreEdit>* edits) {
  for (const std::vector<int32_t>& word : words) {
    const bool only_end = word.size() == 1 && IsEnd(end_tokens, word[0]);
    if (only_end || word.size() - 1 > ids.size()) continue;
    const std::span<const int32_t> tail = ids.last(word.size() - 1);
    if (std::equal(tail.begin(), tail.end(), word.begin())) edits->push_back({word.back(), true});
  }
}

}  // namespace

// Bans come after the penalty in generate()'s _get_logits_processor(), so that a token has one
// edit: it is banned, or penalised once, however often it occurs.
void AppendScoreEdits(const GenerationOptions& options, std::span<const int32_t> ids,
                      std::span<const int32_t> end_tokens, std::vector<ScoreEdit>* edits) {
  const auto first = static_cast<ptrdiff_t>(edits->size());
  if (options.repetition_penalty != 1.0f) {
    for (const int32_t id : ids) edits->push_back({id, false});
  }
  if (options.no_repeat_ngram_size > 0) BanNgrams(options.no_repeat_ngram_size, ids, edits);
  BanWords(options.bad_words, ids, end_tokens, edits);
  if (ids.size() - 1 < options.min_new_tokens) {
    for (const int32_t id : end_tokens) edits->push_back({id, true});
  }
  for (const int32_t id : options.suppressed_token_ids) edits->push_back({id, true});
  const auto begin = edits->begin() + first;
  std::sort(begin, edits->end(), [](const ScoreEdit& a, const ScoreEdit& b) {
    return a.token != b.token ? a.token < b.token : a.banned > b.banned;
  });
  edits->erase(
      std::unique(begin, edits->end(),
                  [](const ScoreEdit& a, const ScoreEdit& b) { return a.token == b.token; }),
      edits->end());
}

size_t MaxScoreEdits(const GenerationOptions& options, size_t num_ends) {
  const size_t ids = options.max_new_tokens + 1;
  return (options.repetition_penalty != 1.0f ? ids : 0) +
         (options.no_repeat_ngram_size > 0 ? ids : 0) + options.bad_words.size() + num_ends +
         options.suppressed_token_ids.size();
}

float Saturated(float score) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return std::clamp(score, -kMost, kMost);
}

float Edited(const ScoreEdit& edit, const GenerationOptions& options, float score) {
  if (edit.banned || score == kBanned) return kBanned;
  const float penalty = options.repetition_penalty;
  return Saturated(score < 0 ? score * penalty : score / penalty);
}

std::span<const int32_t> ForcedTokens(const GenerationOptions& options, size_t num_ids) {
  if (num_ids == options.max_new_tokens && !options.forced_eos_token_ids.empty()) {
    return options.forced_eos_token_ids;
  }
  if (num_ids == 1) return options.forced_bos_token_ids;
  return {};
}

void ForceScores(std::span<const int32_t> tokens, const GenerationOptions& options,
                 std::span<float> scores) {
  std::fill(scores.begin(), scores.end(), kBanned);
  for (const int32_t id : tokens) scores[static_cast<size_t>(id)] = 0;
  for (const int32_t id : options.suppressed_token_ids) scores[static_cast<size_t>(id)] = kBanned;
}

void TokenHistory::Start(const GenerationOptions* options, int32_t start_token) {
  options_ = options;
  ids_.clear();
  ids_.reserve(options->max_new_tokens + 1);
  Push(start_token);
}

}  // namespace precis
