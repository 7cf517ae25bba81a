// Replies that nobody reads, and bulk streams that say nothing: they hold no places that others
// need, and the replies are given up, by time and by bytes.
#include "server/admission/unread.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/net/raw_http2.h"
#include "tests/server/observe/ledger.h"
#include "tests/server/open_inference/client.h"

namespace precis {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Counted = std::map<std::string, int>;

// A server sends 5 bytes of a stream to it, and then waits until the client reads.
std::shared_ptr<grpc::Channel> NarrowChannel(const TestServer& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 5);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
}

ServerOptions Options(Duration unread_timeout, uint32_t max_queue = 64) {
  ServerOptions options = TestOptions();
  options.unread_timeout = unread_timeout;
  options.max_queue = max_queue;
  return options;
}

bool IsServed(TestServer& server) {
  grpc::ClientContext context;
  v1::SummarizeResponse response;
  return server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 2), &response).ok();
}

uint64_t UnreadBytes(TestServer& server) { return server.server().core().unread.bytes(); }

// Until the replies of what `begin` begins wait unread.
template <typename Begin>
auto UntilUnread(TestServer& server, const Begin& begin) {
  const uint64_t before = UnreadBytes(server);
  auto call = begin();
  EXPECT_TRUE(Eventually([&] { return UnreadBytes(server) > before; }));
  EXPECT_TRUE(server.BecomesIdle());
  return call;
}

// A call on a channel of its own, which is read when the test says so.
struct Call {
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  explicit Call(const TestServer& server) : channel(NarrowChannel(server)) {}
};

struct StreamCall : Call {
  std::unique_ptr<grpc::ClientReader<v1::StreamSummarizeResponse>> reader;
  explicit StreamCall(const TestServer& server, uint32_t salt = 3, uint32_t length = 50)
      : Call(server) {
    reader = v1::SummarizationService::NewStub(channel)->StreamSummarize(
        &context, IdsRequest<v1::StreamSummarizeRequest>(salt, length));
  }
  std::string ReadText() {
    v1::StreamSummarizeResponse event;
    std::string text;
    while (reader->Read(&event)) text += event.delta().text();
    return text;
  }
};

struct ManyCall : Call {
  std::unique_ptr<grpc::ClientReaderWriter<v1::SummarizeManyRequest, v1::SummarizeManyResponse>>
      stream;
  explicit ManyCall(const TestServer& server) : Call(server) {
    stream = v1::SummarizationService::NewStub(channel)->SummarizeMany(&context);
  }
  void Write(int id, uint32_t length = 50) {
    auto request = IdsRequest<v1::SummarizeManyRequest>(3, length);
    request.set_id(fmt::format("{}", id));
    EXPECT_TRUE(stream->Write(request));
  }
  int ReadSummaries() {
    int summaries = 0;
    v1::SummarizeManyResponse response;
    while (stream->Read(&response)) summaries += response.has_summary() ? 1 : 0;
    return summaries;
  }
};

struct InferCall : Call {
  std::unique_ptr<grpc::ClientReaderWriter<ModelInferRequest, ModelStreamInferResponse>> stream;
  explicit InferCall(const TestServer& server) : Call(server) {
    stream = inference::GRPCInferenceService::NewStub(channel)->ModelStreamInfer(&context);
  }
  void Write(char salt) {
    ModelInferRequest request = InferRequestOf({InferText(salt, 50)});
    (*request.mutable_parameters())["stream"].set_bool_param(true);
    EXPECT_TRUE(stream->Write(request));
  }
  int ReadFinals() {
    int finals = 0;
    ModelStreamInferResponse response;
    while (stream->Read(&response)) finals += IsFinal(response) ? 1 : 0;
    return finals;
  }
};

std::unique_ptr<StreamCall> UnreadStream(TestServer& server, uint32_t salt = 3) {
  return UntilUnread(server, [&] { return std::make_unique<StreamCall>(server, salt); });
}

std::unique_ptr<ManyCall> UnreadMany(TestServer& server) {
  return UntilUnread(server, [&] {
    auto call = std::make_unique<ManyCall>(server);
    call->Write(1);
    return call;
  });
}

void ExpectEndedAsUnread(const grpc::Status& status) {
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED) << status.error_message();
  EXPECT_NE(status.error_message().find("did not read"), std::string::npos);
}

TEST(Unread, FinishedStreamsGiveTheirPlacesBack) {
  TestServer server(Options(seconds(0), 4));
  std::vector<std::unique_ptr<StreamCall>> calls;
  for (uint32_t i = 0; i < 4; ++i) calls.push_back(std::make_unique<StreamCall>(server, i));
  EXPECT_TRUE(Eventually([&] { return IsServed(server); }));
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_GT(UnreadBytes(server), 0u);
  EXPECT_EQ(Ledger(server).count("StreamSummarize ok"), 0u) << "none is read";
  EXPECT_FALSE(server.server().WaitIdle(milliseconds(1))) << "an end would wait for them";
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(calls[i]->ReadText(), ExpectedText(i, 50)) << "nothing was lost meanwhile";
    EXPECT_TRUE(calls[i]->reader->Finish().ok());
  }
  EXPECT_EQ(Ledger(server)["StreamSummarize ok"], 4);
  EXPECT_EQ(UnreadBytes(server), 0u);
  EXPECT_TRUE(server.server().WaitIdle(seconds(30)));
}

TEST(Unread, BulkResultsGiveTheirPlacesBack) {
  TestServer server(Options(seconds(0), 3));
  ManyCall many(server);
  for (int i = 0; i < 3; ++i) many.Write(i);
  many.stream->WritesDone();
  EXPECT_TRUE(Eventually([&] { return IsServed(server); }));
  InferCall infer(server);
  for (int i = 0; i < 3; ++i) infer.Write('a');
  infer.stream->WritesDone();
  EXPECT_TRUE(Eventually([&] { return IsServed(server); }));
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(many.ReadSummaries(), 3);
  EXPECT_TRUE(many.stream->Finish().ok());
  EXPECT_EQ(infer.ReadFinals(), 3);
  EXPECT_TRUE(infer.stream->Finish().ok());
  EXPECT_EQ(Ledger(server)["SummarizeMany ok"], 3);
  EXPECT_EQ(Ledger(server)["ModelStreamInfer ok"], 3);
}

TEST(Unread, CallsAreEndedAfterTheTimeout) {
  TestServer server(Options(milliseconds(200)));
  StreamCall stream(server);
  ManyCall many(server);
  many.Write(1);
  many.Write(2);
  InferCall infer(server);
  infer.Write('a');
  EXPECT_TRUE(LedgerBecomes(server, {{"StreamSummarize unread", 1},
                                     {"SummarizeMany unread", 2},
                                     {"ModelStreamInfer unread", 1}}));
  EXPECT_EQ(Counts(server, "precis_unread_calls_total"),
            (Counted{{"StreamSummarize", 1}, {"SummarizeMany", 1}, {"ModelStreamInfer", 1}}));
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(UnreadBytes(server), 0u);
  stream.ReadText();
  ExpectEndedAsUnread(stream.reader->Finish());
  many.ReadSummaries();
  ExpectEndedAsUnread(many.stream->Finish());
  infer.ReadFinals();
  ExpectEndedAsUnread(infer.stream->Finish());
  EXPECT_TRUE(IsServed(server));
}

TEST(Unread, AStreamTakesItsRunningDocumentsWithIt) {
  FakeControl control;
  TestModel model;
  model.control = &control;
  TestServer server(Options(milliseconds(200)), model);
  ManyCall many(server);
  many.Write(1);
  ASSERT_TRUE(Eventually([&] { return UnreadBytes(server) > 0; }));
  control.stuck = true;
  many.Write(2);
  EXPECT_TRUE(LedgerBecomes(server, {{"SummarizeMany unread", 2}}));
  control.stuck = false;
  EXPECT_TRUE(server.BecomesIdle());
}

// The reply of a unary call is gRPC's from its end on, and is counted then.
TEST(Unread, AUnaryReplyIsGivenUpAsWell) {
  TestServer server(Options(milliseconds(200)));
  RawHttp2 client(server.server().port(), /*window=*/0);
  client.Message(client.Call("/precis.v1.SummarizationService/Summarize"),
                 IdsRequest<v1::SummarizeRequest>(3, 50).SerializeAsString());
  client.Message(client.Call("/inference.GRPCInferenceService/ModelInfer"),
                 InferRequestOf({"ab"}).SerializeAsString());
  EXPECT_TRUE(LedgerBecomes(server, {{"Summarize ok", 1}, {"ModelInfer ok", 1}}));
  EXPECT_TRUE(Eventually([&] {
    return Counts(server, "precis_unread_calls_total") ==
           Counted{{"Summarize", 1}, {"ModelInfer", 1}};
  }));
  EXPECT_EQ(UnreadBytes(server), 0u);
  EXPECT_EQ(Ledger(server), (Counted{{"Summarize ok", 1}, {"ModelInfer ok", 1}}));
}

TEST(Unread, WhenBytesRunOutWhoHasWaitedLongestGoesFirst) {
  uint64_t bytes = 0;  // of one reply
  {
    TestServer server(Options(seconds(0)));
    StreamCall call(server);
    ASSERT_TRUE(Eventually([&] { return UnreadBytes(server) > 0; }));
    ASSERT_TRUE(server.BecomesIdle());
    ASSERT_TRUE(Eventually([&] {
      const uint64_t before = std::exchange(bytes, UnreadBytes(server));
      return bytes == before;
    }));
    call.context.TryCancel();
    call.ReadText();
    call.reader->Finish();
  }
  ServerOptions options = Options(seconds(0));
  options.max_unread_bytes = bytes * 5 / 2;
  TestServer server(options);
  std::vector<std::unique_ptr<StreamCall>> calls;
  for (int i = 0; i < 2; ++i) calls.push_back(UnreadStream(server));
  EXPECT_TRUE(Counts(server, "precis_unread_calls_total").empty());
  calls.push_back(std::make_unique<StreamCall>(server));
  EXPECT_TRUE(LedgerBecomes(server, {{"StreamSummarize unread", 1}}));
  for (int i = 1; i < 3; ++i) {
    EXPECT_EQ(calls[i]->ReadText(), ExpectedText(3, 50));
    EXPECT_TRUE(calls[i]->reader->Finish().ok());
  }
  calls[0]->ReadText();
  ExpectEndedAsUnread(calls[0]->reader->Finish());
}

TEST(Unread, AClientThatLeavesUnreadRepliesHasCancelled) {
  TestServer server(Options(seconds(0)));
  {
    const auto stream = UnreadStream(server);
    const auto many = UnreadMany(server);
    stream->context.TryCancel();
    many->context.TryCancel();
    stream->reader->Finish();
    many->stream->Finish();
  }
  EXPECT_TRUE(
      LedgerBecomes(server, {{"StreamSummarize cancelled", 1}, {"SummarizeMany cancelled", 1}}));
  EXPECT_TRUE(server.server().WaitIdle(seconds(30)));
  EXPECT_EQ(UnreadBytes(server), 0u);
}

TEST(Unread, ADrainGivesThemUpBeforeLong) {
  TestServer server(Options(seconds(0)));
  const auto unread = UnreadStream(server);
  const auto many = UnreadMany(server);
  const auto read = UnreadStream(server, 4);
  server.server().BeginDrain();
  EXPECT_EQ(read->ReadText(), ExpectedText(4, 50)) << "who reads gets all of it";
  EXPECT_TRUE(read->reader->Finish().ok());
  EXPECT_TRUE(server.server().WaitIdle(seconds(60)));
  EXPECT_TRUE(LedgerBecomes(
      server,
      {{"StreamSummarize ok", 1}, {"StreamSummarize unread", 1}, {"SummarizeMany unread", 1}}));
  unread->ReadText();
  ExpectEndedAsUnread(unread->reader->Finish());
  many->ReadSummaries();
  many->stream->Finish();
}

TEST(Unread, AStopEndsThemAsStopped) {
  TestServer server(Options(seconds(0)));
  const auto stream = UnreadStream(server);
  const auto many = UnreadMany(server);
  server.server().Stop();
  EXPECT_EQ(Ledger(server),
            (Counted{{"StreamSummarize stopped", 1}, {"SummarizeMany stopped", 1}}));
  stream->ReadText();
  EXPECT_EQ(stream->reader->Finish().error_code(), StatusCode::UNAVAILABLE);
  many->ReadSummaries();
  many->stream->Finish();
}

TEST(SilentStreams, HoldNoPlacesAndAreAnsweredWhenTheySpeak) {
  TestServer server(Options(seconds(0), 2));
  std::vector<std::unique_ptr<ManyCall>> many;
  std::vector<std::unique_ptr<InferCall>> infer;
  for (int i = 0; i < 4; ++i) {
    many.push_back(std::make_unique<ManyCall>(server));
    many.back()->stream->WaitForInitialMetadata();
    infer.push_back(std::make_unique<InferCall>(server));
    infer.back()->stream->WaitForInitialMetadata();
  }
  EXPECT_TRUE(IsServed(server));
  EXPECT_EQ(server.server().core().admission.requests(), 0u);
  // More at once than there are places.
  for (auto& call : many) call->Write(1);
  for (auto& call : infer) call->Write('a');
  for (auto& call : many) {
    call->stream->WritesDone();
    EXPECT_EQ(call->ReadSummaries(), 1);
    EXPECT_TRUE(call->stream->Finish().ok());
  }
  for (auto& call : infer) {
    call->stream->WritesDone();
    EXPECT_EQ(call->ReadFinals(), 1);
    EXPECT_TRUE(call->stream->Finish().ok());
  }
  EXPECT_TRUE(server.BecomesIdle());
}

// Each gives its place back where it is refused, which lets the next one in.
TEST(SilentStreams, DocumentsThatWaitForOnePlaceAreAllAnswered) {
  FakeControl control;
  TestModel model;
  model.control = &control;
  TestServer server(Options(seconds(0), 1), model);
  constexpr int kStreams = 200;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<
      grpc::ClientReaderWriter<v1::SummarizeManyRequest, v1::SummarizeManyResponse>>>
      streams;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    streams.push_back(server.stub().SummarizeMany(contexts.back().get()));
    streams.back()->WaitForInitialMetadata();
  }
  control.stuck = true;
  grpc::ClientContext context;
  const auto holder =
      server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(3, 5));
  v1::StreamSummarizeResponse event;
  ASSERT_TRUE(holder->Read(&event));  // accepted
  for (auto& stream : streams) {
    auto request = IdsRequest<v1::SummarizeManyRequest>(3, 5);
    request.set_id("a");
    request.mutable_options()->set_top_p(7);
    ASSERT_TRUE(stream->Write(request));
    stream->WritesDone();
  }
  control.stuck = false;
  for (auto& stream : streams) {
    v1::SummarizeManyResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.error().code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_TRUE(stream->Finish().ok());
  }
  while (holder->Read(&event)) {
  }
  EXPECT_TRUE(holder->Finish().ok());
  EXPECT_EQ(Ledger(server),
            (Counted{{"StreamSummarize ok", 1}, {"SummarizeMany invalid_argument", kStreams}}));
}

}  // namespace
}  // namespace precis
