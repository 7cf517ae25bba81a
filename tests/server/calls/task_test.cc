// A task's promise, without gRPC: one outcome, whoever ends it first, and its place in the queue
// given back. Under ThreadSanitizer this is what sees our own races.
#include "server/calls/task.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

class CountingSink final : public ReplySink {
 public:
  void Accepted(uint32_t) override { ++accepted; }
  void Delta(uint32_t, const std::string& text) override {
    MutexLock lock(mutex_);
    if (!done_) text_ += text;
  }
  void Finished(const StatusOr<Summary>& result) override {
    {
      MutexLock lock(mutex_);
      done_ = true;
      status_ = result.status();
      if (result.ok()) {
        EXPECT_EQ(result->sequences[0].text, text_);
      }
    }
    ++finished;
    if (std::shared_ptr<SummaryTask> t = task.lock()) t->ReplySent();
  }
  Status status() {
    MutexLock lock(mutex_);
    return status_;
  }

  std::atomic<int> accepted{0};
  std::atomic<int> finished{0};
  std::weak_ptr<SummaryTask> task;  // set before the task runs

 private:
  Mutex mutex_;
  bool done_ PRECIS_GUARDED_BY(mutex_) = false;
  std::string text_ PRECIS_GUARDED_BY(mutex_);
  Status status_ PRECIS_GUARDED_BY(mutex_);
};

SummarizeRequest SourceOf(uint32_t salt, uint32_t length) {
  SummarizeRequest request;
  request.source =
      std::vector<int32_t>{static_cast<int32_t>(3 + salt % 400), static_cast<int32_t>(length)};
  request.options.max_new_tokens = 200;
  return request;
}

CallContext NewCallContext() {
  CallContext call_context;
  call_context.request_id = "test";
  call_context.start = std::chrono::steady_clock::now();
  return call_context;
}

struct Started {
  std::shared_ptr<CountingSink> sink = std::make_shared<CountingSink>();
  std::shared_ptr<SummaryTask> task;
};

Started Begin(TestServer& server, AdmissionPermit permit, const SummarizeRequest& request) {
  Started out;
  out.task =
      std::make_shared<SummaryTask>(server.server().core(), NewCallContext(), std::move(permit));
  out.sink->task = out.task;
  out.task->Run(server.server().core().summarizer.Validate(request).value(), out.sink);
  return out;
}

TEST(Task, EndsOnceWithTheSummary) {
  TestServer server;
  auto permit = server.server().core().admission.TryAdmit(Client(), 2);
  const Started s = Begin(server, *std::move(permit), SourceOf(1, 5));
  ASSERT_TRUE(Eventually([&s] { return s.sink->finished == 1; }));
  EXPECT_TRUE(s.sink->status().ok());
  EXPECT_EQ(s.sink->accepted, 1);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Task, ARefusalByTheSummarizerEndsItAndFreesItsPlace) {
  FakeControl control;
  TestModel model;
  model.control = &control;
  ServerOptions options = TestOptions();
  options.engine.max_sequences = 1;
  TestServer server(options, model);
  control.stuck = true;
  auto permit = server.server().core().admission.TryAdmit(Client(), 2);
  const Started first = Begin(server, *std::move(permit), SourceOf(1, 5));
  ASSERT_TRUE(Eventually([&control] { return control.runs > 0; }));
  permit = server.server().core().admission.TryAdmit(Client(), 2);
  const Started second = Begin(server, *std::move(permit), SourceOf(2, 5));
  EXPECT_EQ(second.sink->finished, 1);
  EXPECT_EQ(ReasonOf(second.sink->status()), Reason::kQueueFull);
  EXPECT_EQ(server.server().core().admission.requests(), 1u);
  control.stuck = false;
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Task, KeepsItsPlaceUntilTheEngineHasLetGo) {
  FakeControl control;
  TestModel model;
  model.control = &control;
  TestServer server(TestOptions(), model);
  control.stuck = true;
  auto permit = server.server().core().admission.TryAdmit(Client(), 2);
  const Started s = Begin(server, *std::move(permit), SourceOf(1, 5));
  ASSERT_TRUE(Eventually([&control] { return control.runs > 0; }));
  s.task->Abort(Unavailable("enough"));
  EXPECT_EQ(s.sink->finished, 1) << "the client need not wait for the engine";
  EXPECT_EQ(server.server().core().admission.requests(), 1u);
  control.stuck = false;
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(s.sink->finished, 1);
}

TEST(Task, HasOneOutcomeWhenManyThreadsEndIt) {
  TestServer server;
  ServerCore& core = server.server().core();
  std::vector<Started> all;
  for (uint32_t i = 0; i < 60; ++i) {
    auto permit = core.admission.TryAdmit(Client(), 2);
    if (!permit.ok()) break;
    const Started s = Begin(server, *std::move(permit), SourceOf(i, 1 + i % 50));
    std::vector<std::thread> enders;
    for (int t = 0; t < static_cast<int>(i % 3); ++t) {
      enders.emplace_back([&s] { s.task->Abort(Unavailable("enough")); });
    }
    if (i % 10 == 9) core.live.AbortAll(Unavailable("all"));
    for (auto& ender : enders) ender.join();
    all.push_back(s);
  }
  EXPECT_TRUE(server.BecomesIdle());
  for (const Started& s : all) EXPECT_EQ(s.sink->finished, 1);
}

}  // namespace
}  // namespace precis
