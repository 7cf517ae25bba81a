// Calls that own several sequences: windows of a long document, their merge, and samples.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "engine/request/reading_plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/request/summarizer_testing.h"

namespace precis {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Le;
using testing::SizeIs;

constexpr uint32_t kNewTokens = 40;

class LongDocuments : public SummarizerTest {
 protected:
  SummarizeRequest LongRequest(LongDocumentPolicy policy, int sentences = 30) {
    std::string text;
    for (int i = 0; i < sentences; ++i)
      text += "The ferry number " + std::to_string(i) + " is late. ";
    SummarizeRequest request = Request(text);
    request.options.prefix = "summarize: ";
    request.long_document_policy = policy;
    return request;
  }
  // Ids whose windows begin with different ids: position i has the id 3 + i % 500.
  SummarizeRequest LongIds(size_t tokens) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < tokens; ++i) ids.push_back(3 + static_cast<int32_t>(i % 500));
    SummarizeRequest request = Request(ids);
    request.long_document_policy = LongDocumentPolicy::kWindows;
    return request;
  }
  ReadingPlanner Planner() { return {*tokenizer_, {options_.max_source_tokens, n_positions_}}; }
  std::string AnswerTo(const std::vector<int32_t>& source) {
    return tokenizer_->Decode(FakeAnswer(source, kNewTokens, 512));
  }
  std::string JoinedAnswers(const ReadingPlan& plan) {
    std::string joined;
    for (const auto& passage : plan.passages) {
      const std::string answer = AnswerTo(passage);
      if (answer.find_first_not_of(' ') == answer.npos) continue;
      joined += (joined.empty() ? "" : " ") + answer;
    }
    return joined;
  }
  // Starts a request for many windows and returns when some of them are decoding.
  std::unique_ptr<SummaryCall> StartSlowly(SummarizeRequest request, std::shared_ptr<Heard> heard) {
    Make({.step_time = std::chrono::milliseconds(2)});
    auto call = Start(std::move(request), heard);
    EXPECT_TRUE(call.ok()) << call.status();
    while (engine_->stats().decoding < 2) std::this_thread::yield();
    return *std::move(call);
  }
};

TEST_F(LongDocuments, AreRefusedUnlessThePolicySaysOtherwise) {
  const auto summary = Run(LongRequest(LongDocumentPolicy::kRefuse));
  EXPECT_EQ(ReasonOf(summary.status()), Reason::kTooLarge);
}

TEST_F(LongDocuments, TruncatedOnesSayWhatWasDropped) {
  SummarizeRequest request = LongRequest(LongDocumentPolicy::kTruncate);
  const auto plan = Planner().PlanText(std::get<std::string>(request.source),
                                       "summarize: ", LongDocumentPolicy::kTruncate);
  const auto summary = Run(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->sequences[0].text, AnswerTo(plan->passages[0]));
  EXPECT_EQ(summary->source_tokens, 200u);
  EXPECT_GT(summary->source_tokens_dropped, 100u);
  EXPECT_EQ(summary->windows, 1u);
  EXPECT_THAT(summary->warnings, ElementsAre(HasSubstr("left out")));
}

TEST_F(LongDocuments, WindowsAreSummarizedAndThenTheirSummaries) {
  options_.max_source_tokens = 300;
  Make({});
  SummarizeRequest request = LongRequest(LongDocumentPolicy::kWindows, 40);
  const auto windows = Planner().PlanText(std::get<std::string>(request.source),
                                          "summarize: ", LongDocumentPolicy::kWindows);
  ASSERT_TRUE(windows.ok()) << windows.status();
  const auto merge = Planner().PlanMerge(JoinedAnswers(*windows), "summarize: ", {}, true);
  ASSERT_THAT(merge->passages, SizeIs(1)) << "of this size the summaries fit";
  auto heard = std::make_shared<Heard>();
  const auto summary = Run(request, heard);
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_THAT(summary->sequences, SizeIs(1));
  EXPECT_EQ(summary->sequences[0].text, AnswerTo(merge->passages[0]));
  EXPECT_THAT(heard->joined, ElementsAre(summary->sequences[0].text));
  EXPECT_EQ(summary->windows, windows->passages.size());
  EXPECT_EQ(summary->source_tokens, windows->source_tokens);
  EXPECT_EQ(summary->source_tokens_dropped, 0u);
  EXPECT_GT(summary->generated_tokens, summary->sequences[0].token_ids.size());
  EXPECT_GE(summary->timings.total, summary->timings.first_token);
  EXPECT_GT(summary->timings.first_token, summary->timings.queue);
  EXPECT_EQ(heard->started, 1);
  EXPECT_EQ(heard->accepted_tokens, windows->source_tokens);
  EXPECT_TRUE(std::is_sorted(heard->windows_done.begin(), heard->windows_done.end()));
  EXPECT_EQ(heard->windows_done.front(), 0u);
  EXPECT_EQ(heard->windows_done.back(), summary->windows);
  EXPECT_EQ(heard->windows_total, summary->windows);
  EXPECT_TRUE(NothingIsHeld());
}

TEST_F(LongDocuments, SummariesThatAreTooLongAreReadInWindowsThemselves) {
  const SummarizeRequest request = LongIds(3000);
  ReadingPlan plan = *Planner().PlanIds(std::get<std::vector<int32_t>>(request.source),
                                        LongDocumentPolicy::kWindows);
  const size_t windows = plan.passages.size();
  int rounds = 0;
  for (; plan.passages.size() > 1; ++rounds) {
    plan =
        *Planner().PlanMerge(JoinedAnswers(plan), "", {.begins = true, .ends = false}, rounds < 2);
  }
  ASSERT_GE(rounds, 2);
  auto heard = std::make_shared<Heard>();
  const auto summary = Run(request, heard);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->sequences[0].text, AnswerTo(plan.passages[0]));
  EXPECT_EQ(summary->windows, windows);
  EXPECT_EQ(heard->windows_done.back(), windows) << "of the document, not of its summaries";
}

TEST_F(LongDocuments, AfterTwoRecursionsTheRestIsLeftOutWithAWarning) {
  options_.max_source_tokens = 40;  // no longer than a summary: nothing ever gets shorter
  Make({});
  const auto summary = Run(LongIds(300));
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_THAT(summary->warnings, Contains(HasSubstr("the summaries of the windows have")).Times(1));
  EXPECT_EQ(summary->source_tokens_dropped, 0u) << "the document itself was read";
  EXPECT_THAT(summary->sequences, SizeIs(1));
}

TEST_F(LongDocuments, IdsAreReadInWindowsAsTheyAre) {
  options_.max_source_tokens = 300;
  Make({});
  const SummarizeRequest request = LongIds(1000);
  const auto windows = Planner().PlanIds(std::get<std::vector<int32_t>>(request.source),
                                         LongDocumentPolicy::kWindows);
  const auto merge =
      Planner().PlanMerge(JoinedAnswers(*windows), "", {.begins = true, .ends = false}, true);
  const auto summary = Run(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->sequences[0].text, AnswerTo(merge->passages[0]));
}

TEST_F(LongDocuments, OfBeamsTheBestOfEachWindowGoesOn) {
  options_.max_source_tokens = 300;
  Make({});
  SummarizeRequest request = LongRequest(LongDocumentPolicy::kWindows, 40);
  request.options.num_beams = 2;
  request.options.num_return_sequences = 2;
  const auto windows = Planner().PlanText(std::get<std::string>(request.source),
                                          "summarize: ", LongDocumentPolicy::kWindows);
  const auto merge = Planner().PlanMerge(JoinedAnswers(*windows), "summarize: ", {}, true);
  auto heard = std::make_shared<Heard>();
  const auto summary = Run(request, heard);
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_THAT(summary->sequences, SizeIs(2));
  EXPECT_EQ(summary->sequences[0].text, AnswerTo(merge->passages[0]));
  EXPECT_THAT(heard->joined, SizeIs(0));
}

TEST_F(LongDocuments, AtMostEightWindowsAreInTheEngineAtATime) {
  Make({.step_time = std::chrono::microseconds(500)});
  auto heard = std::make_shared<Heard>();
  auto call = Start(LongIds(3000), heard);
  ASSERT_TRUE(call.ok());
  std::vector<uint32_t> seen;
  std::thread watcher([&] {
    while (control_.runs.load() < 60) {
      const EngineStats s = engine_->stats();
      seen.push_back(s.waiting + s.encoding + s.decoding);
    }
  });
  watcher.join();
  (*call)->Cancel();
  EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(seen, Each(Le(8u)));
  EXPECT_THAT(seen, Contains(8u));
}

TEST_F(LongDocuments, CancellingAmidWindowsGivesEverythingBack) {
  auto heard = std::make_shared<Heard>();
  auto call = StartSlowly(LongIds(3000), heard);
  call.reset();
  EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(NothingIsHeld());
}

TEST_F(LongDocuments, ADeadlineAmidWindowsEndsTheCall) {
  SummarizeRequest request = LongIds(3000);
  request.deadline = SteadyClock().Now() + std::chrono::milliseconds(60);
  auto heard = std::make_shared<Heard>();
  const auto call = StartSlowly(std::move(request), heard);
  EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(NothingIsHeld());
}

TEST_F(LongDocuments, AFailingWindowFailsTheCallAndEndsTheOthers) {
  const SummarizeRequest request = LongIds(3000);
  const auto plan = Planner().PlanIds(std::get<std::vector<int32_t>>(request.source),
                                      LongDocumentPolicy::kWindows);
  control_.fail_source = plan->passages[9][0];
  const auto summary = Run(request);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kInternal) << summary.status();
  EXPECT_TRUE(NothingIsHeld());
}

TEST_F(LongDocuments, AnEngineThatStopsAmidWindowsEndsTheCall) {
  auto heard = std::make_shared<Heard>();
  const auto call = StartSlowly(LongIds(3000), heard);
  engine_->Stop();
  EXPECT_EQ(heard->Wait().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(LongDocuments, BlankSummariesMakeABlankOne) {
  // A source's second id is the length of its answer: windows of zeros answer nothing.
  SummarizeRequest request = LongIds(300);
  request.source = std::vector<int32_t>(300, 0);
  const auto summary = Run(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_THAT(summary->sequences, SizeIs(1));
  EXPECT_EQ(summary->sequences[0].text, "");
  EXPECT_THAT(summary->warnings, ElementsAre(HasSubstr("nothing about any window")));
}

TEST_F(LongDocuments, CallsThatFillTheEngineWaitForEachOther) {
  options_.max_sequences = 3;
  Make({.step_time = std::chrono::microseconds(20)});
  std::vector<std::shared_ptr<Heard>> all;
  std::vector<std::unique_ptr<SummaryCall>> calls;
  for (int i = 0; i < 3; ++i) {
    all.push_back(std::make_shared<Heard>());
    auto call = Start(LongIds(2000), all.back());
    ASSERT_TRUE(call.ok()) << call.status();
    calls.push_back(*std::move(call));
  }
  for (const auto& heard : all) {
    const auto summary = heard->Wait();
    EXPECT_TRUE(summary.ok()) << summary.status();
  }
  EXPECT_TRUE(NothingIsHeld());
}

TEST_F(LongDocuments, EveryCallEndsOnceWhateverHappens) {
  options_.max_sequences = 12;
  Make({.step_time = std::chrono::microseconds(20)});
  for (int round = 0; round < 40; ++round) {
    std::vector<std::shared_ptr<Heard>> all;
    std::vector<std::unique_ptr<SummaryCall>> calls;
    for (int i = 0; i < 6; ++i) {
      SummarizeRequest request = LongIds(220 + static_cast<size_t>(i) * 200);
      if (i % 3 == 1) {
        request.deadline = SteadyClock().Now() + std::chrono::milliseconds(round % 20);
      }
      all.push_back(std::make_shared<Heard>());
      calls.push_back(Start(std::move(request), all.back()).value());
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200 * round));
    calls[0].reset();
    calls[3].reset();
    for (size_t i = 0; i < all.size(); ++i) {
      const auto summary = all[i]->Wait();
      if (i == 2 || i == 5) {
        ASSERT_TRUE(summary.ok()) << summary.status();
      } else if (i % 3 == 1 && !summary.ok()) {
        ASSERT_EQ(summary.status().code(), absl::StatusCode::kDeadlineExceeded);
      }
    }
    ASSERT_TRUE(NothingIsHeld());
  }
}

TEST_F(LongDocuments, SamplesAreSequencesOfTheirOwn) {
  const std::vector<int32_t> ids = {9, 30, 33};
  SummarizeRequest request = Request(ids);
  request.options.temperature = 1.0f;
  request.options.num_return_sequences = 5;
  auto heard = std::make_shared<Heard>();
  const auto summary = Run(request, heard);
  ASSERT_TRUE(summary.ok()) << summary.status();
  ASSERT_THAT(summary->sequences, SizeIs(5));
  ASSERT_THAT(heard->joined, SizeIs(5));
  for (uint32_t i = 0; i < 5; ++i) {
    const SummaryText& text = summary->sequences[i];
    EXPECT_EQ(text.token_ids, FakeAnswer(ids, kNewTokens, 512, i));
    EXPECT_EQ(heard->joined[i], text.text);
  }
  EXPECT_NE(summary->sequences[1].token_ids, summary->sequences[0].token_ids);
  EXPECT_EQ(summary->generated_tokens, 5u * 30u);
  EXPECT_EQ(heard->started, 1);
}

TEST_F(LongDocuments, AFailingSampleFailsTheCall) {
  control_.fail_source = 9;
  SummarizeRequest request = Request(std::vector<int32_t>{9, 30, 33});
  request.options.temperature = 1.0f;
  request.options.num_return_sequences = 3;
  EXPECT_EQ(Run(request).status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(NothingIsHeld());
}

TEST(Samples, TheFirstIsTheOnlyOneAndTheOthersDiffer) {
  EngineOptions options;
  options.model_dir = kTokenizerDir;
  options.device = "ref";
  options.pool_bytes = 8u << 20;
  options.max_batch = 8;
  options.max_source_tokens = 64;
  auto model = LoadSummarizer(options, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto run = [&](uint32_t samples) {
    SummarizeRequest request;
    request.source = "The ferry was late in the rain.";
    request.options.max_new_tokens = 12;
    request.options.num_beams = 1;
    request.options.num_return_sequences = samples;
    request.options.temperature = 1.5f;
    request.options.seed = 7;
    auto heard = std::make_shared<Heard>();
    const auto call =
        model->summarizer->Start(model->summarizer->Validate(std::move(request)).value(), heard);
    return call.ok() ? heard->Wait() : call.status();
  };
  const auto one = run(1);
  const auto four = run(4);
  ASSERT_TRUE(one.ok() && four.ok()) << one.status() << four.status();
  ASSERT_THAT(four->sequences, SizeIs(4));
  EXPECT_EQ(four->sequences[0].token_ids, one->sequences[0].token_ids);
  for (int i = 1; i < 4; ++i) {
    EXPECT_NE(four->sequences[i].token_ids, four->sequences[0].token_ids);
  }
}

}  // namespace
}  // namespace precis
