// What is proposed after which words.
#include "engine/drafting/prompt_lookup.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using Ids = std::vector<int32_t>;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr int32_t kEnd = 1;

struct Proposal {
  Ids tokens;
  uint32_t match;
};

Proposal Propose(PromptLookup* lookup, size_t most = 15) {
  Ids out(most, -1);
  const Draft draft = lookup->Propose(out);
  out.resize(draft.tokens);
  return {out, draft.match};
}

PromptLookup Started(const Ids& source, const Ids& output, bool own_output = true) {
  PromptLookup lookup;
  lookup.Start(source, 64, own_output);
  for (const int32_t token : output) lookup.Push(token);
  return lookup;
}

TEST(PromptLookup, ProposesNothingBeforeTheFirstWord) {
  const Ids source = {5, 6, 7, kEnd};
  PromptLookup lookup = Started(source, {});
  EXPECT_THAT(Propose(&lookup).tokens, IsEmpty());
}

TEST(PromptLookup, ProposesNothingForAWordThatTheDocumentLacks) {
  const Ids source = {5, 6, 7, kEnd};
  PromptLookup lookup = Started(source, {9});
  EXPECT_THAT(Propose(&lookup).tokens, IsEmpty());
}

TEST(PromptLookup, ProposesWhatFollowsUpToTheEndOfTheDocument) {
  const Ids source = {5, 6, 7, 8, kEnd};
  PromptLookup lookup = Started(source, {6});
  const Proposal proposal = Propose(&lookup);
  EXPECT_THAT(proposal.tokens, ElementsAre(7, 8));
  EXPECT_EQ(proposal.match, 1u);
}

TEST(PromptLookup, NeverProposesTheEnd) {
  for (const Ids& source : {Ids{kEnd}, Ids{5, kEnd}, Ids{4, 5, kEnd}}) {
    PromptLookup lookup = Started(source, {5});
    EXPECT_THAT(Propose(&lookup).tokens, IsEmpty());
  }
}

TEST(PromptLookup, TheLongestMatchWins) {
  const Ids source = {3, 5, 10, 4, 5, 11, 3, 4, 5, 12, 4, 5, 13, kEnd};
  PromptLookup lookup = Started(source, {3, 4, 5});
  const Proposal proposal = Propose(&lookup, 1);
  EXPECT_THAT(proposal.tokens, ElementsAre(12));
  EXPECT_EQ(proposal.match, 3u);
}

TEST(PromptLookup, AmongEqualMatchesInTheDocumentTheFirstWins) {
  const Ids source = {5, 10, 5, 11, 5, 12, kEnd};
  PromptLookup lookup = Started(source, {5});
  EXPECT_THAT(Propose(&lookup, 1).tokens, ElementsAre(10));
}

TEST(PromptLookup, GoesOnWhereItCopiedLast) {
  // Twice the same eight words and more, which is as long as a match counts; the copy is of the
  // second.
  const Ids source = {2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30, kEnd};
  PromptLookup lookup = Started(source, {50});
  EXPECT_THAT(Propose(&lookup, 2).tokens, ElementsAre(2, 3));
  for (const int32_t token : {2, 3, 4, 5, 6, 7, 8, 9, 10}) lookup.Push(token);
  const Proposal proposal = Propose(&lookup, 1);
  EXPECT_THAT(proposal.tokens, ElementsAre(30));
  EXPECT_EQ(proposal.match, PromptLookup::kMaxMatch);
}

TEST(PromptLookup, ProposesTheSummarysOwnWords) {
  const Ids source = {5, 6, kEnd};
  PromptLookup lookup = Started(source, {20, 21, 22, 20});
  const Proposal proposal = Propose(&lookup);
  EXPECT_THAT(proposal.tokens, ElementsAre(21, 22, 20));
  EXPECT_EQ(proposal.match, 1u);
}

TEST(PromptLookup, TheSummarysLatestWordsComeFirst) {
  const Ids source = {5, 40, kEnd};
  PromptLookup lookup = Started(source, {5, 41, 5, 42, 5});
  EXPECT_THAT(Propose(&lookup, 1).tokens, ElementsAre(42));
}

TEST(PromptLookup, LeavesTheSummarysOwnWordsOutWhereTheyMayNotBeRepeated) {
  const Ids source = {5, 40, kEnd};
  PromptLookup lookup = Started(source, {5, 41, 5, 42, 5}, false);
  EXPECT_THAT(Propose(&lookup, 1).tokens, ElementsAre(40));
}

TEST(PromptLookup, AMatchDoesNotReachFromTheSummaryIntoTheDocument) {
  const Ids source = {7, 5, kEnd};
  // The document ends with 7 5, the summary begins with 6: 5 6 does not stand anywhere.
  PromptLookup lookup = Started(source, {6, 8, 6});
  const Proposal proposal = Propose(&lookup);
  EXPECT_THAT(proposal.tokens, ElementsAre(8, 6));
  EXPECT_EQ(proposal.match, 1u);
}

TEST(PromptLookup, StartsAfresh) {
  const Ids first = {5, 6, 7, kEnd};
  const Ids second = {5, 8, kEnd};
  PromptLookup lookup = Started(first, {5, 6});
  Propose(&lookup);
  lookup.Start(second, 64, true);
  lookup.Push(5);
  EXPECT_THAT(Propose(&lookup).tokens, ElementsAre(8));
}

// The rule by brute force, where no chain is longer than a lookup looks.
uint32_t LongestMatch(const Ids& source, const Ids& output) {
  uint32_t best = 0;
  const auto look = [&](const Ids& ids, size_t positions) {
    for (size_t i = 0; i < positions; ++i) {
      uint32_t length = 0;
      while (length <= i && length < output.size() && length < PromptLookup::kMaxMatch &&
             ids[i - length] == output[output.size() - 1 - length]) {
        ++length;
      }
      best = std::max(best, length);
    }
  };
  if (source.size() > 2) look(source, source.size() - 2);
  if (!output.empty()) look(output, output.size() - 1);
  return best;
}

TEST(PromptLookup, FindsTheLongestMatchOfRandomTexts) {
  std::minstd_rand random(3);
  for (int round = 0; round < 200; ++round) {
    const auto words = static_cast<int32_t>(2 + random() % 6);
    const auto draw = [&](size_t n) {
      Ids ids(n);
      for (int32_t& id : ids) id = static_cast<int32_t>(2 + random() % words);
      return ids;
    };
    Ids source = draw(random() % 30);
    source.push_back(kEnd);
    PromptLookup lookup;
    lookup.Start(source, 30, true);
    Ids output;
    for (const int32_t token : draw(30)) {
      lookup.Push(token);
      output.push_back(token);
      const Proposal proposal = Propose(&lookup);
      ASSERT_EQ(proposal.match, LongestMatch(source, output)) << "round " << round;
      ASSERT_EQ(proposal.tokens.empty(), proposal.match == 0);
    }
  }
}

}  // namespace
}  // namespace precis
