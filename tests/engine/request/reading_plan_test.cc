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
  auto plan = Planner(100).PlanMerge("The ferry", "summarize: ", {}, true);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->passages, ElementsAre(Joined(Ids("summarize: The ferry"), {})));
  plan = Planner(60).PlanMerge(Sentences(12), "summarize: ", {}, /*may_split=*/true);
  ASSERT_TRUE(plan.ok());
  EXPECT_GT(plan->passages.size(), 2u);
  plan = Planner(60).PlanMerge(Sentences(12), "summarize: ", {}, /*may_split=*/false);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->passages.size(), 1u);
  EXPECT_EQ(plan->passages[0].size(), 60u);
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("were left out")));
  plan = Planner(16).PlanMerge(Sentences(400), "", {}, /*may_split=*/true);
  ASSERT_TRUE(plan.ok()) << "too many windows: it was accepted, so it is cut";
  EXPECT_EQ(plan->passages.size(), 1u);
}

// As BART's: <s> before every source.
class TokenizerWithBeginning final : public Tokenizer {
 public:
  explicit TokenizerWithBeginning(const Tokenizer& other) : other_(other) {}
  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    return other_.Encode(text);
  }
  bool IsBlank(std::string_view text) const override { return other_.IsBlank(text); }
  std::string Decode(std::span<const int32_t> ids) const override { return other_.Decode(ids); }
  void DecodeNext(int32_t id, DecodeState* state, std::string* out) const override {
    other_.DecodeNext(id, state, out);
  }
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    other_.DecodeEnd(state, out);
  }
  std::span<const int32_t> source_prefix() const override { return begin_; }
  int32_t end_id() const override { return other_.end_id(); }
  uint32_t num_pieces() const override { return other_.num_pieces(); }
  std::string_view source() const override { return other_.source(); }

 private:
  const Tokenizer& other_;
  const std::vector<int32_t> begin_ = {500};
};

class SourcePrefixTest : public ReadingPlanTest {
 protected:
  void SetUp() override {
    ReadingPlanTest::SetUp();
    framed_ = std::make_unique<TokenizerWithBeginning>(*tokenizer_);
  }
  ReadingPlanner Framed(uint32_t max_source_tokens) { return {*framed_, {max_source_tokens, 0}}; }
  // <s> A, and </s> behind it.
  std::vector<int32_t> WithBoth(const std::string& text) { return Joined({500}, Ids(text)); }

  std::unique_ptr<Tokenizer> framed_;
};

TEST_F(SourcePrefixTest, StandsBeforeATextAndItsPrefix) {
  const auto plan = Framed(100).PlanText("The ferry", "summarize: ", LongDocumentPolicy::kRefuse);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->passages, ElementsAre(WithBoth("summarize: The ferry")));
  EXPECT_EQ(plan->source_tokens, Ids("summarize: The ferry").size() + 2);
}

TEST_F(SourcePrefixTest, CountsToTheLimit) {
  const std::string text = Sentences(3);
  const auto most = static_cast<uint32_t>(Ids(text).size() + 2);
  EXPECT_TRUE(Framed(most).PlanText(text, "", LongDocumentPolicy::kRefuse).ok());
  const auto refused = Framed(most - 1).PlanText(text, "", LongDocumentPolicy::kRefuse);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kTooLarge);
}

TEST_F(SourcePrefixTest, TruncatingKeepsIt) {
  const auto plan = Framed(20).PlanText(Sentences(9), "", LongDocumentPolicy::kTruncate);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<int32_t> ids = Ids(Sentences(9));
  EXPECT_EQ(plan->source_tokens_dropped, ids.size() + 2 - 20);
  ids.resize(18);
  EXPECT_THAT(plan->passages, ElementsAre(Joined({500}, ids)));
}

TEST_F(SourcePrefixTest, BeginsEveryWindowAndEveryMerge) {
  const std::vector<int32_t> front = [this] {
    std::vector<int32_t> ids = {500};
    for (const int32_t id : Ids("summarize: ")) ids.push_back(id);
    return ids;
  }();
  const auto windows =
      Framed(100).PlanText(Sentences(40), "summarize: ", LongDocumentPolicy::kWindows);
  const auto merge = Framed(100).PlanMerge(Sentences(40), "summarize: ", {}, /*may_split=*/true);
  for (const auto* plan : {&windows, &merge}) {
    ASSERT_TRUE(plan->ok()) << plan->status();
    ASSERT_GT((*plan)->passages.size(), 2u);
    for (const std::vector<int32_t>& ids : (*plan)->passages) {
      EXPECT_LE(ids.size(), 100u);
      ASSERT_TRUE(std::equal(front.begin(), front.end(), ids.begin()));
      EXPECT_EQ(ids.back(), kEos);
    }
    EXPECT_EQ((*plan)->source_tokens, front.size() + Ids(Sentences(40)).size() + 1);
  }
}

TEST_F(SourcePrefixTest, IdsHaveWhatTheyWereSentWith) {
  for (const bool begins : {false, true}) {
    for (const bool ends : {false, true}) {
      std::vector<int32_t> ids(100, 5);
      if (begins) ids.front() = 500;
      if (ends) ids.back() = kEos;
      const SourceFrame frame = Framed(30).FrameOf(ids);
      EXPECT_EQ(frame.begins, begins);
      EXPECT_EQ(frame.ends, ends);
      for (const auto policy : {LongDocumentPolicy::kTruncate, LongDocumentPolicy::kWindows}) {
        const auto plan = Framed(30).PlanIds(ids, policy);
        ASSERT_TRUE(plan.ok()) << plan.status();
        for (const std::vector<int32_t>& passage : plan->passages) {
          EXPECT_EQ(passage.front(), begins ? 500 : 5);
          EXPECT_EQ(passage[1], 5);
          EXPECT_EQ(passage.back(), ends ? kEos : 5);
        }
      }
      const auto merge = Framed(30).PlanMerge("The ferry", "", frame, /*may_split=*/true);
      ASSERT_TRUE(merge.ok());
      EXPECT_EQ(merge->passages[0].front() == 500, begins);
      EXPECT_EQ(merge->passages[0].back() == kEos, ends);
    }
  }
}

TEST_F(SourcePrefixTest, ALimitWithoutRoomForAPartIsNamed) {
  std::vector<int32_t> ids = {500, 5, 6, 7, kEos};
  for (const auto policy : {LongDocumentPolicy::kTruncate, LongDocumentPolicy::kWindows}) {
    const auto plan = Framed(2).PlanIds(ids, policy);
    EXPECT_EQ(ReasonOf(plan.status()), Reason::kTooLarge);
    EXPECT_THAT(std::string(plan.status().message()),
                HasSubstr("has 5 tokens, and the limit of 2"));
  }
  EXPECT_FALSE(Framed(9).FrameOf(std::vector<int32_t>{kEos}).begins);
  EXPECT_TRUE(Framed(9).FrameOf(std::vector<int32_t>{kEos}).ends);
}

}  // namespace
}  // namespace precis
