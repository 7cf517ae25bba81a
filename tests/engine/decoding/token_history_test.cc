// What the ids so far do to the scores of the next token.
#include "engine/decoding/token_history.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/decoding/process_scores.h"

namespace precis {
namespace {

using testing::ElementsAre;

constexpr float kBanned = -std::numeric_limits<float>::infinity();
constexpr int32_t kEos = 1;
constexpr int32_t kEnds[] = {kEos};

std::vector<float> Processed(const GenerationOptions& options, const std::vector<int32_t>& ids,
                             std::vector<float> scores, std::span<const int32_t> ends = kEnds) {
  ProcessScores(options, ids, ends, scores);
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

// By MinLengthLogitsProcessor and NoBadWordsLogitsProcessor of transformers 5.5.4.
TEST(ProcessScores, TakesEveryEndForAnEnd) {
  constexpr int32_t kThree[] = {1, 3, 4};
  GenerationOptions options;
  options.min_new_tokens = 1;
  EXPECT_THAT(Processed(options, {0}, {0, 0, 0, 0, 0}, kThree),
              ElementsAre(0, kBanned, 0, kBanned, kBanned));
  EXPECT_THAT(Processed(options, {0}, {0, 0, 0, 0, 0}, {}), ElementsAre(0, 0, 0, 0, 0));
  options.min_new_tokens = 0;
  options.bad_words = {{1}, {3}, {2, 4}, {0}};
  EXPECT_THAT(Processed(options, {0, 2}, {0, 0, 0, 0, 0}, kThree),
              ElementsAre(kBanned, 0, 0, 0, kBanned));
  std::vector<ScoreEdit> edits;
  options.min_new_tokens = 9;
  options.max_new_tokens = 9;
  AppendScoreEdits(options, std::vector<int32_t>{0, 2}, kThree, &edits);
  EXPECT_LE(edits.size(), MaxScoreEdits(options, 3));
}

TEST(ProcessScores, BansTheLastTokenOfABadWord) {
  GenerationOptions options;
  options.bad_words = {{2}, {3, 4}, {4, 3, 0}};
  EXPECT_THAT(Processed(options, {0, 4}, {1, 1, 1, 1, 1}), ElementsAre(1, 1, kBanned, 1, 1));
  EXPECT_THAT(Processed(options, {0, 3}, {1, 1, 1, 1, 1}), ElementsAre(1, 1, kBanned, 1, kBanned));
  EXPECT_THAT(Processed(options, {0, 4, 3}, {1, 1, 1, 1, 1}),
              ElementsAre(kBanned, 1, kBanned, 1, kBanned));
}

TEST(ProcessScores, LetsTheStartTokenBeginABadWord) {
  GenerationOptions options;
  options.bad_words = {{0, 2}, {3, 0, 1}};
  EXPECT_THAT(Processed(options, {0}, {1, 1, 1}), ElementsAre(1, 1, kBanned));
  EXPECT_THAT(Processed(options, {0, 2}, {1, 1, 1}), ElementsAre(1, 1, 1));
}

TEST(ProcessScores, TakesTheEndAloneForNoBadWord) {
  GenerationOptions options;
  options.bad_words = {{kEos}, {2, kEos}};
  EXPECT_THAT(Processed(options, {0, 3}, {1, 1, 1, 1}), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(Processed(options, {0, 2}, {1, 1, 1, 1}), ElementsAre(1, kBanned, 1, 1));
}

TEST(ProcessScores, ForcesTheFirstTokenAtAScoreOf0) {
  GenerationOptions options;
  options.forced_bos_token_ids = {3};
  options.bad_words = {{3}};
  EXPECT_THAT(Processed(options, {0}, {1, 1, 1, -2}), ElementsAre(kBanned, kBanned, kBanned, 0))
      << "whatever forbids it by an earlier rule";
  EXPECT_THAT(Processed(options, {0, 3}, {1, 1, 1, 1}), ElementsAre(1, 1, 1, kBanned));
}

TEST(ProcessScores, ForcesTheLastTokenWhereTheLengthEnds) {
  GenerationOptions options;
  options.max_new_tokens = 2;
  options.min_new_tokens = 2;
  options.forced_eos_token_ids = {kEos};
  EXPECT_THAT(Processed(options, {0}, {1, 1, 1}), ElementsAre(1, kBanned, 1));
  EXPECT_THAT(Processed(options, {0, 2}, {5, 1, 5}), ElementsAre(kBanned, 0, kBanned));
  options.max_new_tokens = 1;
  options.forced_bos_token_ids = {2};
  EXPECT_THAT(Processed(options, {0}, {5, 1, 5}), ElementsAre(kBanned, 0, kBanned))
      << "a first token that is the last one";
}

// By ForcedEOSTokenLogitsProcessor of transformers 5.5.4, which takes a list.
TEST(ProcessScores, ForcesOneOfSeveral) {
  GenerationOptions options;
  options.max_new_tokens = 2;
  options.forced_bos_token_ids = {2, 3};
  options.forced_eos_token_ids = {1, 3};
  options.suppressed_token_ids = {3};
  EXPECT_THAT(Processed(options, {0}, {5, 5, 5, 5}), ElementsAre(kBanned, kBanned, 0, kBanned));
  options.suppressed_token_ids = {};
  EXPECT_THAT(Processed(options, {0}, {5, 5, 5, 5}), ElementsAre(kBanned, kBanned, 0, 0));
  EXPECT_THAT(Processed(options, {0, 2}, {5, 5, 5, 5}), ElementsAre(kBanned, 0, kBanned, 0));
}

TEST(ProcessScores, SuppressesAtEveryStepAndAfterAllElse) {
  GenerationOptions options;
  options.max_new_tokens = 2;
  options.suppressed_token_ids = {2, 0, 2};
  options.forced_eos_token_ids = {2};
  EXPECT_THAT(Processed(options, {0}, {5, 1, 5}), ElementsAre(kBanned, 1, kBanned));
  EXPECT_THAT(Processed(options, {0, 1}, {5, 1, 5}), ElementsAre(kBanned, kBanned, kBanned));
}

TEST(ProcessScores, DependsOnTheIdsGivenAndNotOnThoseOfEarlierCalls) {
  GenerationOptions options;
  options.bad_words = {{2, 3}};
  options.forced_bos_token_ids = {2};
  const std::vector<float> scores = {1, 1, 1, 1};
  const std::vector<float> drafted = Processed(options, {0, 2}, scores);
  EXPECT_EQ(Processed(options, {0}, scores)[2], 0);
  EXPECT_EQ(Processed(options, {0, 2, 1}, scores), scores);
  EXPECT_EQ(Processed(options, {0, 2}, scores), drafted);
}

TEST(ScoreEdits, AreOneATokenInAscendingOrderAndABanWins) {
  GenerationOptions options;
  options.repetition_penalty = 2;
  options.no_repeat_ngram_size = 1;
  options.suppressed_token_ids = {9, 4};
  std::vector<ScoreEdit> edits = {{99, false}};  // of another row
  AppendScoreEdits(options, std::vector<int32_t>{0, 3, 2, 3}, kEnds, &edits);
  std::vector<int32_t> tokens;
  for (const ScoreEdit& edit : edits) tokens.push_back(edit.token);
  EXPECT_THAT(tokens, ElementsAre(99, 0, 2, 3, 4, 9));
  for (size_t i = 1; i < edits.size(); ++i) EXPECT_TRUE(edits[i].banned) << edits[i].token;
  EXPECT_LE(edits.size() - 1, MaxScoreEdits(options, 1));
}

TEST(TokenHistory, HasTheIdsPushedSinceStart) {
  GenerationOptions options;
  TokenHistory history;
  history.Start(&options, 0);
  history.Push(3);
  history.Start(&options, 0);
  history.Push(2);
  history.Push(5);
  history.Truncate(1);
  EXPECT_EQ(history.last(), 2);
  EXPECT_EQ(history.generated(), 1u);
  EXPECT_THAT(history.ids(), ElementsAre(0, 2));
}

}  // namespace
}  // namespace precis
