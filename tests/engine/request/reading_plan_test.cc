// What of a source is read: whole, its beginning, windows; and what the joined summaries become.
#include "engine/request/reading_plan.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int32_t kEos = 1;

class ReadingPlanTest : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load("tests/golden/wgqa_g2", 544);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  ReadingPlanner Planner(uint32_t max_source_tokens, uint32_t trained_tokens = 0) {
    return {*tokenizer_, {max_source_tokens, trained_tokens}};
  }
  std::vector<int32_t> Ids(const std::string& text) { return tokenizer_->Encode(text).value(); }
  static std::vector<int32_t> Joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    a.push_back(kEos);
    return a;
  }
  static std::string Sentences(int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += "The ferry was late in the rain again. ";
    return text;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(ReadingPlanTest, AShortTextIsReadWholeUnderEveryPolicy) {
  for (const auto policy :
       {LongDocumentPolicy::kRefuse, LongDocumentPolicy::kTruncate, LongDocumentPolicy::kWindows}) {
    const auto plan = Planner(100).PlanText("The ferry", "summarize: ", policy);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_THAT(plan->passages, ElementsAre(Joined(Ids("summarize: The ferry"), {})));
    EXPECT_EQ(plan->source_tokens_dropped, 0u);
    EXPECT_THAT(plan->warnings, IsEmpty());
  }
}

TEST_F(ReadingPlanTest, PastTheTrainedLengthAWholeTextIsReadWithAWarning) {
  const auto plan = Planner(1000, 20).PlanText(Sentences(4), "", LongDocumentPolicy::kWindows);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->passages.size(), 1u);
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("20 positions")));
}

TEST_F(ReadingPlanTest, TruncatingKeepsThePrefixTheFirstTokensAndTheEnd) {
  const auto plan =
      Planner(50).PlanText(Sentences(9), "summarize: ", LongDocumentPolicy::kTruncate);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<int32_t> ids = Ids("summarize: " + Sentences(9));
  EXPECT_EQ(plan->source_tokens, 50u);
  EXPECT_EQ(plan->source_tokens_dropped, ids.size() + 1 - 50);
  ids.resize(49);
  EXPECT_THAT(plan->passages, ElementsAre(Joined(ids, {})));
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("left out")));
}

TEST_F(ReadingPlanTest, WindowsBeginWithThePrefixAndHoldWholeSentences) {
  const std::string text = Sentences(40);
  const auto plan = Planner(200).PlanText(text, "summarize: ", LongDocumentPolicy::kWindows);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_GT(plan->passages.size(), 2u);
  const std::vector<int32_t> prefix = Ids("summarize: ");
  for (const std::vector<int32_t>& ids : plan->passages) {
    EXPECT_LE(ids.size(), 200u);
    EXPECT_EQ(ids.back(), kEos);
    ASSERT_TRUE(std::equal(prefix.begin(), prefix.end(), ids.begin()));
    const std::string body = tokenizer_->Decode(std::span(ids).subspan(prefix.size()));
    EXPECT_EQ(body.rfind("The ferry", 0), 0u) << body;
    EXPECT_TRUE(body.ends_with("again.")) << body;
  }
  EXPECT_EQ(plan->source_tokens, prefix.size() + Ids(text).size() + 1);
  EXPECT_EQ(plan->source_tokens_dropped, 0u);
}

TEST_F(ReadingPlanTest, WindowsHaveTheTrainedLengthAndGrowWhenThereWouldBeTooMany) {
  const std::vector<int32_t> ids(1000, 5);
  auto plan = Planner(400, 50).PlanIds(ids, LongDocumentPolicy::kWindows);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->passages[0].size(), 50u);
  EXPECT_THAT(plan->warnings, IsEmpty());

  plan = Planner(400, 10).PlanIds(ids, LongDocumentPolicy::kWindows);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_LE(plan->passages.size(), ReadingPlanner::kMaxWindows);
  EXPECT_EQ(plan->passages[0].size(), 20u);
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("up to 20 tokens")));
}

TEST_F(ReadingPlanTest, MoreThan64WindowsAreTooLargeWithTheNumbers) {
  const auto plan =
      Planner(16).PlanIds(std::vector<int32_t>(5000, 5), LongDocumentPolicy::kWindows);
  EXPECT_EQ(ReasonOf(plan.status()), Reason::kTooLarge);
  EXPECT_EQ(FieldOf(plan.status()), "token_ids");
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("has 5000 tokens"));
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("at most 64"));
}

TEST_F(ReadingPlanTest, IdsKeepTheirEndOnlyIfTheyHadOne) {
  std::vector<int32_t> ids(100, 5);
  auto plan = Planner(30).PlanIds(ids, LongDocumentPolicy::kTruncate);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->passages, ElementsAre(std::vector<int32_t>(30, 5)));
  EXPECT_EQ(plan->source_tokens_dropped, 70u);
  ids.back() = kEos;
  plan = Planner(30).PlanIds(ids, LongDocumentPolicy::kTruncate);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->passages, ElementsAre(Joined(std::vector<int32_t>(29, 5), {})));
  plan = Planner(30).PlanIds(ids, LongDocumentPolicy::kWindows);
  ASSERT_TRUE(plan.ok());
  for (const auto& passage : plan->passages) EXPECT_EQ(passage.back(), kEos);
  EXPECT_EQ(plan->source_tokens, 100u);
}

TEST_F(ReadingPlanTest, APrefixIsNoDocument) {
  for (const auto policy :
       {LongDocumentPolicy::kRefuse, LongDocumentPolicy::kTruncate, LongDocumentPolicy::kWindows}) {
    for (const char* prefix : {"", "summarize: "}) {
      for (const char* text : {"", " ", "\n\n\t ", "\u00a0\u3000", "\u200b"}) {
        const auto plan = Planner(50).PlanText(text, prefix, policy);
        EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << "'" << text << "'";
        EXPECT_EQ(FieldOf(plan.status()), "text") << plan.status();
      }
    }
  }
  const auto broken = Planner(50).PlanText("a\xff", "summarize: ", LongDocumentPolicy::kRefuse);
  EXPECT_THAT(std::string(broken.status().message()), HasSubstr("not UTF-8 at byte 1"));
}

TEST_F(ReadingPlanTest, APrefixMustLeaveRoom) {
  for (const auto policy : {LongDocumentPolicy::kTruncate, LongDocumentPolicy::kWindows}) {
    const auto plan = Planner(20).PlanText(Sentences(9), Sentences(2), policy);
    EXPECT_EQ(FieldOf(plan.status()), "options.prefix") << plan.status();
  }
}

TEST_F(ReadingPlanTest, JoinedSummariesAreReadWholeElseSplitElseCut) {
  auto plan = Planner(100).PlanMerge("The ferry", "summarize: ", true, true);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->passages, ElementsAre(Joined(Ids("summarize: The ferry"), {})));
  plan = Planner(60).PlanMerge(Sentences(12), "summarize: ", true, /*may_split=*/true);
  ASSERT_TRUE(plan.ok());
  EXPECT_GT(plan->passages.size(), 2u);
  plan = Planner(60).PlanMerge(Sentences(12), "summarize: ", true, /*may_split=*/false);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->passages.size(), 1u);
  EXPECT_EQ(plan->passages[0].size(), 60u);
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("were left out")));
  plan = Planner(16).PlanMerge(Sentences(400), "", true, /*may_split=*/true);
  ASSERT_TRUE(plan.ok()) << "too many windows: it was accepted, so it is cut";
  EXPECT_EQ(plan->passages.size(), 1u);
}

}  // namespace
}  // namespace precis
