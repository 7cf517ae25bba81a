// What the ids so far do to the scores of the next token.
#include "engine/run/token_history.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;

constexpr float kBanned = -std::numeric_limits<float>::infinity();
constexpr int32_t kEos = 1;

std::vector<float> Processed(const GenerationOptions& options, const std::vector<int32_t>& ids,
                             std::vector<float> scores) {
  std::vector<float> scratch;
  ProcessScores(options, ids, kEos, scores, &scratch);
  return scores;
}

TEST(ProcessScores, ChangesNothingByDefault) {
  EXPECT_THAT(Processed({}, {0, 2, 2}, {1, -2, 3, 0}), ElementsAre(1, -2, 3, 0));
}

TEST(ProcessScores, PenalisesARepeatedIdOnceAndTheStartTokenToo) {
  GenerationOptions options;
  options.repetition_penalty = 2;
  EXPECT_THAT(Processed(options, {0, 2, 3, 2, 2}, {4, -1, 3, -3}), ElementsAre(2, -1, 1.5, -6));
}

TEST(ProcessScores, BansWhatFollowedTheSameTokensBefore) {
  GenerationOptions options;
  options.no_repeat_ngram_size = 2;
  EXPECT_THAT(Processed(options, {0, 2, 3, 2}, {0, 0, 0, 0}), ElementsAre(0, 0, 0, kBanned));
  options.no_repeat_ngram_size = 3;
  EXPECT_THAT(Processed(options, {0, 2, 3, 2}, {0, 0, 0, 0}), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Processed(options, {0, 2, 3, 0, 2}, {0, 0, 0, 0}), ElementsAre(0, 0, 0, kBanned));
  options.no_repeat_ngram_size = 1;
  EXPECT_THAT(Processed(options, {0, 2}, {0, 0, 0, 0}), ElementsAre(kBanned, 0, kBanned, 0));
}

TEST(ProcessScores, BansTheEndBeforeTheMinimumLength) {
  GenerationOptions options;
  options.min_new_tokens = 2;
  EXPECT_THAT(Processed(options, {0, 2}, {0, 0, 0}), ElementsAre(0, kBanned, 0));
  EXPECT_THAT(Processed(options, {0, 2, 2}, {0, 0, 0}), ElementsAre(0, 0, 0));
}

TEST(TokenHistory, ProcessesByTheIdsPushedSinceStart) {
  GenerationOptions options;
  options.repetition_penalty = 2;
  options.min_new_tokens = 2;
  TokenHistory history;
  history.Start(&options, 0, kEos);
  history.Push(3);
  history.Start(&options, 0, kEos);
  history.Push(2);
  EXPECT_EQ(history.last(), 2);
  EXPECT_EQ(history.generated(), 1u);
  std::vector<float> scores = {4, 4, 4, 4};
  history.Process(scores);
  EXPECT_THAT(scores, ElementsAre(2, kBanned, 2, 4));
}

}  // namespace
}  // namespace precis
