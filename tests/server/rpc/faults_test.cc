// What operators fear: a full queue, clients that leave or do not read, deadlines, an end in the
// middle, an engine that is stuck.
#include <atomic>
#include <thread>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A summary that takes long: 200 tokens, a few milliseconds each.
TestModel SlowModel(FakeControl* control = nullptr) {
  TestModel model;
  model.model.step_time = milliseconds(5);
  model.control = control;
  return model;
}

// A stream in a thread of its own would hide its order; this one is read where the test says.
struct OpenStream {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::StreamSummarizeResponse>> reader;
  v1::StreamSummarizeResponse event;

  explicit OpenStream(TestServer& server, uint32_t length = 190) {
    reader =
        server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(3, length));
  }
  bool ReadUntilDelta() {
    while (reader->Read(&event)) {
      if (event.has_delta()) return true;
    }
    return false;
  }
  int ReadToFinished() {
    int finished = 0;
    while (reader->Read(&event)) finished += event.has_finished() ? 1 : 0;
    return finished;
  }
};

bool IsServing(TestServer& server) {
  auto stub = grpc::health::v1::Health::NewStub(server.NewChannel());
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse response;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(kServiceName);
  return stub->Check(&context, request, &response).ok() &&
         response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

grpc::Status SummarizeOnce(TestServer& server, grpc::ClientContext& context, uint32_t length = 2) {
  v1::SummarizeResponse response;
  return server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, length), &response);
}

TEST(Faults, AFullQueueIsRefusedWithAReasonAndATimeToRetry) {
  ServerOptions options = TestOptions();
  options.max_queue = 2;
  TestServer server(options, SlowModel());
  OpenStream a(server), b(server);
  ASSERT_TRUE(a.ReadUntilDelta() && b.ReadUntilDelta());
  grpc::ClientContext context;
  const auto status = SummarizeOnce(server, context);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(status), "QUEUE_FULL");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(status).has_value());
  const auto& trailing = context.GetServerTrailingMetadata();
  EXPECT_EQ(trailing.count("grpc-retry-pushback-ms"), 1u);
  EXPECT_EQ(trailing.count("retry-after"), 1u);
  EXPECT_EQ(trailing.count("x-request-id") + trailing.count("traceparent"), 2u);
  EXPECT_TRUE(context.GetServerInitialMetadata().empty()) << "nobody tries it again otherwise";
  EXPECT_EQ(a.ReadToFinished() + b.ReadToFinished(), 2) << "those inside are not disturbed";
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, APassedDeadlineEndsTheRequestAndGivesPagesBack) {
  TestServer server(TestOptions(), SlowModel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + milliseconds(60));
  EXPECT_EQ(SummarizeOnce(server, context, 190).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, TheServersOwnTimeoutEndsARequestWithoutDeadline) {
  ServerOptions options = TestOptions();
  options.default_timeout = milliseconds(60);
  TestServer server(options, SlowModel());
  grpc::ClientContext context;
  EXPECT_EQ(SummarizeOnce(server, context, 190).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, AClientThatLeavesGivesPagesBack) {
  TestServer server(TestOptions(), SlowModel());
  OpenStream stream(server);
  ASSERT_TRUE(stream.ReadUntilDelta());
  EXPECT_GT(server.engine().stats().pages_cross, 0u);
  stream.context.TryCancel();
  EXPECT_EQ(stream.ReadToFinished(), 0);
  EXPECT_EQ(stream.reader->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, ABulkClientThatLeavesGivesEveryPlaceBack) {
  ServerOptions options = TestOptions();
  options.max_queue = 4;
  TestServer server(options, SlowModel());
  grpc::ClientContext context;
  auto stream = server.stub().SummarizeMany(&context);
  for (int i = 0; i < 3; ++i) {
    auto request = IdsRequest<v1::SummarizeManyRequest>(i, 190);
    request.set_id(fmt::format("{}", i));
    ASSERT_TRUE(stream->Write(request));
  }
  ASSERT_TRUE(Eventually([&] { return server.engine().stats().decoding == 3; }));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, ASlowReaderDoesNotHoldUpOthers) {
  TestServer server(TestOptions(), SlowModel());
  OpenStream slow(server);
  ASSERT_TRUE(slow.reader->Read(&slow.event));  // and then it does not read
  OpenStream quick(server);
  EXPECT_EQ(quick.ReadToFinished(), 1);
  // The engine has finished the slow one as well: its pages are back though nobody has read it.
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().pages_cross == 0; }));
  std::string text;
  while (slow.reader->Read(&slow.event)) {
    if (slow.event.has_delta()) text += slow.event.delta().text();
  }
  EXPECT_TRUE(slow.reader->Finish().ok());
  EXPECT_EQ(text, ExpectedText(3, 190)) << "nothing was lost while it did not read";
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, ADrainFinishesWhatRunsAndRefusesTheRest) {
  TestServer server(TestOptions(), SlowModel());
  EXPECT_TRUE(IsServing(server));
  OpenStream stream(server, 60);
  grpc::ClientContext bulk_context;
  auto bulk = server.stub().SummarizeMany(&bulk_context);  // idle, but open
  bulk->WaitForInitialMetadata();
  ASSERT_TRUE(stream.ReadUntilDelta());
  server.server().BeginDrain();
  EXPECT_FALSE(IsServing(server));
  grpc::ClientContext context;
  const auto refused = SummarizeOnce(server, context);
  EXPECT_EQ(refused.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(refused), "DRAINING");
  EXPECT_EQ(stream.ReadToFinished(), 1);
  EXPECT_TRUE(stream.reader->Finish().ok());
  v1::SummarizeManyResponse response;
  EXPECT_FALSE(bulk->Read(&response));
  const auto closed = bulk->Finish();
  EXPECT_EQ(closed.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(closed), "DRAINING");
  EXPECT_TRUE(server.server().WaitIdle(seconds(30)));
}

TEST(Faults, StopEndsEverythingWithUnavailableEvenIfTheEngineIsStuck) {
  FakeControl control;
  TestServer server(TestOptions(), SlowModel(&control));
  OpenStream stream(server);
  ASSERT_TRUE(stream.ReadUntilDelta());
  control.stuck = true;
  const auto begin = std::chrono::steady_clock::now();
  std::thread stopper([&server] { server.server().Stop(); });
  EXPECT_EQ(stream.ReadToFinished(), 0);
  const auto status = stream.reader->Finish();
  stopper.join();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(ReasonIn(status), "STOPPED");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(20));
  control.stuck = false;
}

TEST(Faults, AStuckEngineTurnsHealthOffAndOnAgain) {
  FakeControl control;
  ServerOptions options = TestOptions();
  options.watchdog_timeout = milliseconds(150);
  TestServer server(options, SlowModel(&control));
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_TRUE(IsServing(server)) << "no work is no reason";
  control.stuck = true;
  OpenStream stream(server, 20);
  EXPECT_TRUE(Eventually([&] { return !IsServing(server); }));
  control.stuck = false;
  EXPECT_EQ(stream.ReadToFinished(), 1);
  EXPECT_TRUE(Eventually([&] { return IsServing(server); }));
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, AFailingStepIsOneInternalErrorAndTheServerGoesOn) {
  FakeControl control;
  TestServer server(TestOptions(), SlowModel(&control));
  control.fail_next = true;
  grpc::ClientContext first, second;
  EXPECT_EQ(SummarizeOnce(server, first).error_code(), StatusCode::INTERNAL);
  EXPECT_TRUE(SummarizeOnce(server, second).ok());
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, ALostDeviceEndsAllRequestsAndHealthForGood) {
  FakeControl control;
  ServerOptions options = TestOptions();
  options.watchdog_timeout = seconds(0);  // looks after the device all the same
  TestServer server(options, SlowModel(&control));
  OpenStream a(server), b(server);
  ASSERT_TRUE(a.ReadUntilDelta() && b.ReadUntilDelta());
  control.device_lost = true;
  for (OpenStream* stream : {&a, &b}) {
    EXPECT_EQ(stream->ReadToFinished(), 0);
    const auto status = stream->reader->Finish();
    EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
    EXPECT_EQ(ReasonIn(status), "DEVICE_FAILED");
  }
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_TRUE(Eventually([&] { return !IsServing(server); }));
  EXPECT_TRUE(Eventually([&] { return server.engine().stats().pages_cached == 0; }))
      << "what lies on a lost device is nobody's";
  const EngineStats stats = server.engine().stats();
  EXPECT_EQ(stats.failed_steps, 1u);
  EXPECT_TRUE(stats.device_failed);
  const uint64_t runs = control.runs.load();
  grpc::ClientContext context;
  const auto refused = SummarizeOnce(server, context);
  EXPECT_EQ(ReasonIn(refused), "DEVICE_FAILED");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(refused).has_value());
  EXPECT_EQ(control.runs.load(), runs) << "nothing more was asked of it";
  server.engine().FlushCache();
  server.server().BeginDrain();
  EXPECT_TRUE(server.server().WaitIdle(seconds(30)));
}

TEST(Faults, RequestsThatComeWhileTheDeviceFailsAllHaveOneEnd) {
  FakeControl control;
  TestModel model;
  model.model.step_time = std::chrono::microseconds(200);
  model.control = &control;
  TestServer server(TestOptions(), model);
  std::atomic<int> failed{0}, other{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 6; ++t) {
    clients.emplace_back([&] {
      while (true) {
        grpc::ClientContext context;
        const auto status = SummarizeOnce(server, context, 20);
        if (status.ok()) continue;
        ++(ReasonIn(status) == "DEVICE_FAILED" ? failed : other);
        return;
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return control.runs.load() > 50; }));
  control.device_lost = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed.load(), 6);
  EXPECT_EQ(other.load(), 0);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Faults, ATakenPortIsAnErrorThatNamesIt) {
  TestServer server;
  ServerOptions options = TestOptions();
  options.listen = server.address();
  ModelInfo info;
  info.vocab_size = 512;
  LoadedSummarizer model;
  model.engine =
      *Engine::CreateWithRunner(options.engine, std::make_unique<FakeRunner>(FakeModel()), info);
  model.summarizer =
      std::make_unique<Summarizer>(*model.engine, std::make_unique<FakeTokenizer>(), options.text);
  const auto second = Server::Start(options, std::move(model));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(std::string(second.status().message()).find(server.address()), std::string::npos);
}

// Every request ends once, whatever its client does, and the counters agree.
TEST(Faults, EveryRequestHasOneOutcomeUnderRandomLoad) {
  ServerOptions options = TestOptions();
  options.max_queue = 12;
  TestModel model;
  model.model.step_time = std::chrono::microseconds(300);
  TestServer server(options, model);
  constexpr int kThreads = 8;
  constexpr int kCalls = 30;
  std::atomic<int> ok{0}, cancelled{0}, late{0}, full{0}, other{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      uint32_t random = 12345u * static_cast<uint32_t>(t + 1);
      for (int i = 0; i < kCalls; ++i) {
        random = random * 1664525u + 1013904223u;
        const uint32_t kind = (random >> 16) % 4;
        const uint32_t length = 1 + (random >> 20) % 60;
        grpc::ClientContext context;
        if (kind == 1) {
          context.set_deadline(std::chrono::system_clock::now() + milliseconds((random >> 8) % 12));
        }
        auto reader = server.stub().StreamSummarize(
            &context, IdsRequest<v1::StreamSummarizeRequest>(random, length));
        v1::StreamSummarizeResponse event;
        std::string text;
        int finished = 0;
        for (uint32_t n = 0; reader->Read(&event); ++n) {
          if (event.has_delta()) text += event.delta().text();
          if (event.has_finished()) ++finished;
          if (kind == 2 && n == (random >> 10) % 8) context.TryCancel();
        }
        switch (reader->Finish().error_code()) {
          case StatusCode::OK:
            ++ok;
            EXPECT_EQ(finished, 1);
            EXPECT_EQ(text, ExpectedText(random, length));
            break;
          case StatusCode::CANCELLED:
            ++cancelled;
            break;
          case StatusCode::DEADLINE_EXCEEDED:
            ++late;
            break;
          case StatusCode::RESOURCE_EXHAUSTED:
            ++full;
            break;
          default:
            ++other;
        }
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(other.load(), 0);
  EXPECT_GT(ok.load(), 0);
  EXPECT_GT(cancelled.load() + late.load(), 0);
  // A call whose client gave up before it arrived is not seen by the server: never more than sent.
  const auto counted = [&server] {
    double sum = 0;
    for (const auto& family : server.server().metrics().registry()->Collect()) {
      if (family.name != "precis_requests_total") continue;
      for (const auto& metric : family.metric) sum += metric.counter.value;
    }
    return sum;
  };
  EXPECT_LE(counted(), kThreads * kCalls);
  EXPECT_GE(counted(), ok.load() + full.load());
}

}  // namespace
}  // namespace precis
