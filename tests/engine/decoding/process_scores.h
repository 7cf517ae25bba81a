// Processing of a whole row of scores, one edit after the other: what the picker of tokens does
// panel by panel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/decoding/token_history.h"
#include "kernels/ops.h"

namespace precis {

inline void ProcessScores(const GenerationOptions& options, std::span<const int32_t> ids,
                          std::span<const int32_t> end_tokens, std::span<float> scores) {
  if (const auto forced = ForcedTokens(options, ids.size()); !forced.empty()) {
    return ForceScores(forced, options, scores);
  }
  std::vector<ScoreEdit> edits;
  AppendScoreEdits(options, ids, end_tokens, &edits);
  for (const ScoreEdit& edit : edits) {
    float& score = scores[static_cast<size_t>(edit.token)];
    score = Edited(edit, options, score);
  }
}

// The best `count` possible tokens: descending, lower tokens first among equals.
inline std::vector<TokenScore> BestScores(std::span<const float> scores, size_t count) {
  std::vector<TokenScore> best;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > -std::numeric_limits<float>::infinity()) {
      best.push_back({scores[i], static_cast<int32_t>(i)});
    }
  }
  std::sort(best.begin(), best.end(), [](const TokenScore& a, const TokenScore& b) {
    return a.score != b.score ? a.score > b.score : a.token < b.token;
  });
  best.resize(std::min(best.size(), count));
  return best;
}

}  // namespace precis
