#include "engine/run/token_history.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;

constexpr float kBanned = -INFINITY;

GenerationOptions Options() {
  GenerationOptions options;
  options.max_new_tokens = 16;
  return options;
}

TokenHistory HistoryOf(const GenerationOptions& options, const std::vector<int32_t>& tokens) {
  TokenHistory history;
  history.Start(&options, 0, 1);
  for (const int32_t token : tokens) history.Push(token);
  return history;
}

TEST(TokenHistory, LeavesScoresAloneByDefault) {
  const GenerationOptions options = Options();
  std::vector<float> scores = {1, -2, 3};
  HistoryOf(options, {2, 2}).Process(scores);
  EXPECT_THAT(scores, ElementsAre(1, -2, 3));
}

TEST(TokenHistory, PenalizesEachSeenTokenOnceTheStartTokenIncluded) {
  GenerationOptions options = Options();
  options.repetition_penalty = 2.0f;
  std::vector<float> scores = {4, 4, -4, 4};
  HistoryOf(options, {2, 2, 2}).Process(scores);
  EXPECT_THAT(scores, ElementsAre(2, 4, -8, 4));
}

TEST(TokenHistory, BansWhatWouldRepeatAnNgram) {
  GenerationOptions options = Options();
  options.no_repeat_ngram_size = 2;
  std::vector<float> scores(6, 1.0f);
  HistoryOf(options, {3, 4, 3, 5, 3}).Process(scores);  // after 3 came 4 and 5
  EXPECT_THAT(scores, ElementsAre(1, 1, 1, 1, kBanned, kBanned));
}

TEST(TokenHistory, BansEverySeenTokenWithNgramsOfOne) {
  GenerationOptions options = Options();
  options.no_repeat_ngram_size = 1;
  std::vector<float> scores(5, 1.0f);
  HistoryOf(options, {3}).Process(scores);
  EXPECT_THAT(scores, ElementsAre(kBanned, 1, 1, kBanned, 1));
}

TEST(TokenHistory, AnNgramLongerThanTheTextBansNothing) {
  GenerationOptions options = Options();
  options.no_repeat_ngram_size = 9;
  std::vector<float> scores(5, 1.0f);
  HistoryOf(options, {3, 3, 3}).Process(scores);
  EXPECT_THAT(scores, testing::Each(1.0f));
}

TEST(TokenHistory, BansTheEndUntilMinNewTokens) {
  GenerationOptions options = Options();
  options.min_new_tokens = 2;
  std::vector<float> scores(4, 1.0f);
  HistoryOf(options, {3}).Process(scores);
  EXPECT_EQ(scores[1], kBanned);
  scores.assign(4, 1.0f);
  HistoryOf(options, {3, 3}).Process(scores);
  EXPECT_EQ(scores[1], 1.0f);
}

}  // namespace
}  // namespace precis
