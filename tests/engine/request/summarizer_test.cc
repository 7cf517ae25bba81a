// Text to text over a fake model: deltas, stop strings, limits, ends.
#include "engine/request/summarizer.h"

#include <random>
#include <thread>
#include <type_traits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/request/summarizer_testing.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(SummarizerTest, DeltasJoinedAreTheTextOfTheTokens) {
  auto heard = std::make_shared<Heard>();
  const auto summary = Run(Request("The ferry was late."), heard);
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_EQ(summary->sequences.size(), 1u);
  const SummaryText& text = summary->sequences[0];
  EXPECT_THAT(heard->joined, ElementsAre(text.text));
  EXPECT_EQ(text.text, tokenizer_->Decode(text.token_ids));
  EXPECT_EQ(summary->source_tokens, heard->accepted_tokens);
  EXPECT_EQ(heard->started, 1);
  EXPECT_GT(summary->generated_tokens, 0u);
}

TEST_F(SummarizerTest, PutsThePrefixBeforeTheTextAndEndsItWithEos) {
  std::vector<int32_t> ids = tokenizer_->Encode("summarize: The ferry").value();
  ids.push_back(1);
  SummarizeRequest request = Request("The ferry");
  request.options.prefix = "summarize: ";
  const auto summary = Run(request);
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->sequences[0].token_ids, FakeAnswer(ids, 40, 512));
  EXPECT_EQ(summary->effective.prefix_from, ResolvedOptions::PrefixFrom::kRequest);
}

TEST_F(SummarizerTest, TokenIdsAreTakenAsTheyAre) {
  const std::vector<int32_t> ids = {9, 12, 33};
  const auto summary = Run(Request(ids));
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->sequences[0].token_ids, FakeAnswer(ids, 40, 512));
}

// The fake's search finds two.
TEST_F(SummarizerTest, FewerSequencesThanAskedForAreWarnedOf) {
  SummarizeRequest request = Request(std::vector<int32_t>{9, 12, 33});
  request.options.num_beams = 3;
  request.options.num_return_sequences = 3;
  auto summary = Run(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->sequences.size(), 2u);
  EXPECT_THAT(
      summary->warnings,
      ElementsAre("3 sequences were asked for, and with these options only 2 are possible"));
  request.options.num_return_sequences = 2;
  summary = Run(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_THAT(summary->warnings, testing::IsEmpty());
}

TEST_F(SummarizerTest, AStopStringCutsTheTextBeforeIt) {
  const std::vector<int32_t> ids = {9, 35, 33};
  const auto whole = Run(Request(ids));
  ASSERT_TRUE(whole.ok());
  const std::string text = whole->sequences[0].text;
  ASSERT_GT(text.size(), 20u);
  SummarizeRequest request = Request(ids);
  request.options.stop = {text.substr(10, 5)};
  auto heard = std::make_shared<Heard>();
  const auto cut = Run(request, heard);
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut->sequences[0].text, text.substr(0, text.find(text.substr(10, 5))));
  EXPECT_THAT(heard->joined, ElementsAre(cut->sequences[0].text));
  EXPECT_EQ(cut->sequences[0].finish_reason, FinishReason::kStopString);
  EXPECT_GT(cut->timings.first_token, cut->timings.queue);
  EXPECT_GE(cut->timings.total, cut->timings.first_token);
}

TEST_F(SummarizerTest, RefusesBadInputNamingTheField) {
  const auto field = [&](SummarizeRequest request) {
    const auto summary = Run(std::move(request));
    EXPECT_EQ(summary.status().code(), absl::StatusCode::kInvalidArgument) << summary.status();
    return FieldOf(summary.status()).value_or("none");
  };
  EXPECT_EQ(field(Request("")), "text");
  EXPECT_EQ(field(Request("  \n ")), "text");
  EXPECT_EQ(field(Request("broken \xff here")), "text");
  EXPECT_EQ(field(Request(std::string(5000, 'a'))), "text");
  EXPECT_EQ(field(Request(std::vector<int32_t>{})), "token_ids");
  EXPECT_EQ(field(Request(std::vector<int32_t>{5, 100'000})), "token_ids.ids[1]");
  EXPECT_EQ(field(Request(std::vector<int32_t>{5, -1})), "token_ids.ids[1]");
  EXPECT_EQ(field(Request(std::vector<int32_t>(201, 5))), "token_ids");
  EXPECT_EQ(field(Request({})), "source");
  SummarizeRequest hot = Request("text");
  hot.options.temperature = -1;
  EXPECT_EQ(field(hot), "options.temperature");
}

// What was not validated cannot be started: there is no other way to a ValidRequest.
static_assert(!std::is_default_constructible_v<ValidRequest>);
static_assert(!std::is_constructible_v<ValidRequest, SummarizeRequest>);
static_assert(!std::is_convertible_v<SummarizeRequest, ValidRequest>);

// Were they resolved again, another seed would be drawn.
TEST_F(SummarizerTest, RunsTheOptionsThatValidationResolved) {
  SummarizeRequest request = Request("text");
  request.options.temperature = 1.0f;
  auto valid = summarizer_->Validate(request);
  ASSERT_TRUE(valid.ok()) << valid.status();
  const uint64_t seed = valid->options().options.seed;
  auto heard = std::make_shared<Heard>();
  const auto call = summarizer_->Start(*std::move(valid), heard);
  ASSERT_TRUE(call.ok()) << call.status();
  const auto summary = heard->Wait();
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->effective.options.seed, seed);
  EXPECT_NE(summarizer_->Validate(request)->options().options.seed, seed);
}

TEST_F(SummarizerTest, AValidRequestKnowsWhatItMayCost) {
  SummarizeRequest request = Request(std::vector<int32_t>{9, 12, 33});
  request.options.num_beams = 4;
  request.options.num_return_sequences = 2;
  const auto ids = summarizer_->Validate(request);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->new_tokens(), 160u);
  EXPECT_EQ(ids->cost_tokens(), 163u);
  request.source = "twelve bytes";
  EXPECT_EQ(summarizer_->Validate(request)->cost_tokens(), 164u);
}

TEST_F(SummarizerTest, ATextWithTooManyTokensIsRefusedWithBothNumbers) {
  std::string text;
  for (int i = 0; i < 700; ++i) text += "q ";
  const auto summary = Run(Request(text));
  EXPECT_EQ(FieldOf(summary.status()), "text");
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("the limit is 200"));
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("; set long_document_policy"));
}

TEST_F(SummarizerTest, CancellingEndsWithCancelledAndGivesPagesBack) {
  Make({.step_time = std::chrono::milliseconds(2)});
  auto heard = std::make_shared<Heard>();
  auto call = Start(Request(std::vector<int32_t>{9, 35, 33}), heard);
  ASSERT_TRUE(call.ok());
  while (engine_->stats().decoding == 0) std::this_thread::yield();
  (*call)->Cancel();
  EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kCancelled);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.pages_self + stats.pages_cross + stats.pages_promised, 0u);
}

TEST_F(SummarizerTest, DestructionCancelsWhatIsUnderWay) {
  Make({.step_time = std::chrono::milliseconds(2)});
  std::vector<std::shared_ptr<Heard>> all;
  std::vector<std::unique_ptr<SummaryCall>> calls;
  for (int i = 0; i < 20; ++i) {
    all.push_back(std::make_shared<Heard>());
    calls.push_back(Start(Request(std::vector<int32_t>{9, 35, i}), all.back()).value());
  }
  summarizer_.reset();
  for (const auto& heard : all) {
    EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kCancelled);
  }
}

TEST_F(SummarizerTest, EveryCallEndsOnceUnderRandomLoad) {
  Make({.pages = 80, .step_time = std::chrono::microseconds(50)});
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60; ++i) {
        auto heard = std::make_shared<Heard>();
        std::vector<int32_t> ids = {5, static_cast<int32_t>(random() % 40), t, i};
        auto call = Start(Request(ids), heard);
        ASSERT_TRUE(call.ok());
        if (random() % 3 == 0) call->reset();  // cancels
        const auto summary = heard->Wait();
        if (summary.ok()) {
          ASSERT_EQ(summary->sequences[0].token_ids, FakeAnswer(ids, 40, 512));
        } else {
          ASSERT_EQ(summary.status().code(), absl::StatusCode::kCancelled);
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace precis
