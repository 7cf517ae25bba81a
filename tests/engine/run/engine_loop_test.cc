// The step loop over a fake model: every accepted request gets exactly one end, whatever happens.
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/run/fake_runner.h"
#include "tests/support/eventually.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

EngineOptions SmallOptions() {
  EngineOptions options;
  options.max_batch = 8;
  options.max_sequences = 64;
  options.max_source_tokens = 256;
  options.max_new_tokens = 64;
  return options;
}

GenerationOptions NewTokens(uint32_t n) {
  GenerationOptions options;
  options.max_new_tokens = n;
  return options;
}

void ExpectPagesBack(const Engine& engine) {
  EXPECT_TRUE(Eventually([&] {
    const EngineStats s = engine.stats();
    return s.pages_self + s.pages_cross + s.pages_promised == 0 && s.waiting + s.decoding == 0;
  }));
}

TEST(EngineLoop, AnswersWithTheModelsTokens) {
  const FakeModel model;
  auto engine = MakeFakeEngine(SmallOptions(), model);
  auto run = BlockingRun::Submit(*engine, {7, 5, 9}, NewTokens(20));
  ASSERT_TRUE(run.ok()) << run.status();
  const RunResult result = run->Wait();
  EXPECT_EQ(result.tokens, FakeAnswer(std::vector<int32_t>{7, 5, 9}, 20, model.vocab_size));
  EXPECT_EQ(result.reason, FinishReason::kEndOfSequence);
  ExpectPagesBack(*engine);
}

TEST(EngineLoop, StopsAtMaxNewTokens) {
  auto engine = MakeFakeEngine(SmallOptions(), {});
  const RunResult result = BlockingRun::Submit(*engine, {7, 50, 9}, NewTokens(6))->Wait();
  EXPECT_EQ(result.tokens.size(), 6u);
  EXPECT_EQ(result.reason, FinishReason::kLength);
}

TEST(EngineLoop, RefusesWhatCanNeverFitAndSaysBothNumbers) {
  FakeModel model;
  model.pages = 10;
  auto engine = MakeFakeEngine(SmallOptions(), model);
  const auto run = BlockingRun::Submit(*engine, std::vector<int32_t>(33, 5), NewTokens(8));
  EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(run.status()), "source");
  EXPECT_THAT(std::string(run.status().message()),
              testing::AllOf(testing::HasSubstr("11 pages"), testing::HasSubstr("has 10")));
}

TEST(EngineLoop, RefusesMoreThanMaxSequences) {
  EngineOptions options = SmallOptions();
  options.max_sequences = 2;
  FakeControl control;
  control.stuck = true;
  auto engine = MakeFakeEngine(options, {}, &control);
  auto first = BlockingRun::Submit(*engine, {7, 5}, NewTokens(4));
  auto second = BlockingRun::Submit(*engine, {8, 5}, NewTokens(4));
  const auto third = BlockingRun::Submit(*engine, {9, 5}, NewTokens(4));
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(third.status()), Reason::kQueueFull);
  control.stuck = false;
  EXPECT_TRUE(first->Wait().status.ok());
  EXPECT_TRUE(second->Wait().status.ok());
}

TEST(EngineLoop, ADroppedHandleGivesItsPagesBack) {
  FakeModel model;
  model.step_time = microseconds(500);
  auto engine = MakeFakeEngine(SmallOptions(), model);
  {
    auto run = BlockingRun::Submit(*engine, {7, 60, 1}, NewTokens(64));
    ASSERT_TRUE(run.ok());
    ASSERT_TRUE(Eventually([&] { return engine->stats().decoding == 1; }));
    EXPECT_GT(engine->stats().pages_cross, 0u);
  }
  ExpectPagesBack(*engine);
}

TEST(EngineLoop, APassedDeadlineEndsTheSequence) {
  FakeModel model;
  model.step_time = milliseconds(2);
  auto engine = MakeFakeEngine(SmallOptions(), model);
  auto arrival = std::make_shared<Arrival>();
  SequenceRequest request;
  request.source_ids = {7, 60, 1};
  request.options = NewTokens(64);
  request.deadline = SteadyClock().Now() + milliseconds(20);
  request.listener = arrival;
  auto handle = engine->Submit(std::move(request));
  ASSERT_TRUE(handle.ok());
  std::optional<TokenEvent> last;
  while (!last || last->kind != TokenEvent::Kind::kFinished) {
    last = handle->Poll();
    if (!last) arrival->Wait();
  }
  EXPECT_EQ(last->reason, FinishReason::kDeadline);
  ExpectPagesBack(*engine);
}

TEST(EngineLoop, AFailedStepEndsItsSequencesAndNothingElse) {
  FakeControl control;
  auto engine = MakeFakeEngine(SmallOptions(), {}, &control);
  control.fail_next = true;
  const RunResult failed = BlockingRun::Submit(*engine, {7, 5}, NewTokens(4))->Wait();
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
  const RunResult next = BlockingRun::Submit(*engine, {7, 5}, NewTokens(4))->Wait();
  EXPECT_TRUE(next.status.ok());
  ExpectPagesBack(*engine);
}

TEST(EngineLoop, AFailingSequenceEndsItselfNotItsBatch) {
  FakeControl control;
  control.fail_source = 9;
  auto engine = MakeFakeEngine(SmallOptions(), {}, &control);
  auto good = BlockingRun::Submit(*engine, {7, 30}, NewTokens(40));
  auto bad = BlockingRun::Submit(*engine, {9, 30}, NewTokens(40));
  EXPECT_EQ(bad->Wait().status.code(), absl::StatusCode::kInternal);
  const RunResult result = good->Wait();
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.tokens.size(), 30u);
}

TEST(EngineLoop, StopEndsWhatIsUnfinishedWithUnavailable) {
  FakeModel model;
  model.step_time = milliseconds(1);
  auto engine = MakeFakeEngine(SmallOptions(), model);
  std::vector<BlockingRun> runs;
  for (int i = 0; i < 20; ++i) {
    auto run = BlockingRun::Submit(*engine, {7, 60, i}, NewTokens(64));
    ASSERT_TRUE(run.ok());
    runs.push_back(*std::move(run));
  }
  engine->Stop();
  for (BlockingRun& run : runs) {
    EXPECT_EQ(run.Wait().status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(BlockingRun::Submit(*engine, {7, 5}, NewTokens(4)).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(EngineLoop, SecondsSinceProgressGrowWhileAStepIsStuck) {
  FakeControl control;
  auto engine = MakeFakeEngine(SmallOptions(), {}, &control);
  EXPECT_EQ(engine->stats().seconds_since_progress, 0);
  control.stuck = true;
  auto run = BlockingRun::Submit(*engine, {7, 5}, NewTokens(4));
  EXPECT_TRUE(Eventually([&] { return engine->stats().seconds_since_progress > 0.05; }));
  control.stuck = false;
  run->Wait();
  EXPECT_TRUE(Eventually([&] { return engine->stats().seconds_since_progress == 0; }));
}

// Several threads submit, read slowly, drop and wait, against a pool that is too small for all.
TEST(EngineLoop, EveryAnswerIsRightUnderRandomLoadWithCancellations) {
  FakeModel model;
  model.pages = 60;
  EngineOptions options = SmallOptions();
  auto engine = MakeFakeEngine(options, model);
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 200; ++i) {
        std::vector<int32_t> source(1 + random() % 60);
        for (int32_t& id : source) id = static_cast<int32_t>(2 + random() % 60);
        const uint32_t new_tokens = 1 + random() % 64;
        auto run = BlockingRun::Submit(*engine, source, NewTokens(new_tokens));
        if (!run.ok()) continue;
        if (random() % 4 == 0) continue;  // dropped at once
        const RunResult result = run->Wait();
        ASSERT_TRUE(result.status.ok());
        ASSERT_EQ(result.tokens, FakeAnswer(source, new_tokens, model.vocab_size));
        ++answered;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(answered.load(), 300);
  ExpectPagesBack(*engine);
}

}  // namespace
}  // namespace precis
