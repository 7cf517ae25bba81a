// Every call that has begun is counted once, and as what it was: also one that ends before its
// message was read, by whatever end.
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "tests/server/net/raw_http2.h"
#include "tests/server/observe/ledger.h"
#include "tests/server/open_inference/client.h"

namespace precis {
namespace {

using std::chrono::milliseconds;

struct Path {
  const char* path;
  const char* method;  // in the metrics
};
// Of calls with one message.
constexpr Path kPaths[] = {
    {"/precis.v1.SummarizationService/Summarize", "Summarize"},
    {"/precis.v1.SummarizationService/StreamSummarize", "StreamSummarize"},
    {"/precis.v1.SummarizationService/ListModels", "ListModels"},
    {"/inference.GRPCInferenceService/ModelInfer", "ModelInfer"},
    {"/inference.GRPCInferenceService/ServerLive", "OpenInferenceInfo"},
    {"/inference.GRPCInferenceService/ModelMetadata", "OpenInferenceInfo"},
};
constexpr char kStream[] = "/precis.v1.SummarizationService/StreamSummarize";
constexpr char kMany[] = "/precis.v1.SummarizationService/SummarizeMany";

std::string Key(const Path& path, const std::string& outcome) {
  return std::string(path.method) + " " + outcome;
}

// A message above four times the longest text, and above 4M; how its client sees that end.
grpc::StatusCode SendTooLarge(const TestServer& server, const std::string& path) {
  grpc::GenericStub stub(server.NewChannel());
  grpc::Slice slice(std::string((4u << 20) + 1, 'x'));
  const grpc::ByteBuffer request(&slice, 1);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, &status);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status.error_code();
}

// Of all methods together.
int CountOf(TestServer& server, const std::string& outcome) {
  int sum = 0;
  for (const auto& [key, count] : Ledger(server)) {
    if (key.substr(key.find(' ') + 1) == outcome) sum += count;
  }
  return sum;
}

class LedgerOf : public testing::TestWithParam<Path> {};

TEST_P(LedgerOf, ACallThatEndsBeforeItsMessageIsCancelledOrLate) {
  TestServer server;
  RawHttp2 client(server.server().port());
  const uint32_t empty = client.Call(GetParam().path);
  const uint32_t partial = client.Call(GetParam().path);
  client.Message(partial, "0123456789", 3);
  client.Sync();
  client.Cancel(empty);
  client.Cancel(partial);
  EXPECT_TRUE(LedgerBecomes(server, {{Key(GetParam(), "cancelled"), 2}}));
  client.Call(GetParam().path, false, "300m");
  EXPECT_TRUE(LedgerBecomes(
      server, {{Key(GetParam(), "cancelled"), 2}, {Key(GetParam(), "deadline_exceeded"), 1}}));
  client.Call(GetParam().path);
  client.Sync();
  client.Leave();
  EXPECT_TRUE(LedgerBecomes(
      server, {{Key(GetParam(), "cancelled"), 3}, {Key(GetParam(), "deadline_exceeded"), 1}}));
}

TEST_P(LedgerOf, NoMessageAtAllAndGarbageAreTheClientsMistakes) {
  TestServer server;
  RawHttp2 client(server.server().port());
  client.Call(GetParam().path, /*end=*/true);
  EXPECT_TRUE(LedgerBecomes(server, {{Key(GetParam(), "invalid_argument"), 1}}));
  client.Message(client.Call(GetParam().path), "\xff\xff\xff");
  EXPECT_TRUE(LedgerBecomes(server, {{Key(GetParam(), "invalid_argument"), 2}}));
}

TEST_P(LedgerOf, AMessageThatGrpcRefusesNeverBegan) {
  TestServer server;
  EXPECT_EQ(SendTooLarge(server, GetParam().path), grpc::StatusCode::RESOURCE_EXHAUSTED);
  RawHttp2 client(server.server().port());
  client.Call(GetParam().path, /*end=*/true);
  EXPECT_TRUE(LedgerBecomes(server, {{Key(GetParam(), "invalid_argument"), 1}}));
}

std::string NameOf(const testing::TestParamInfo<Path>& test) {
  const std::string path = test.param.path;
  return path.substr(path.rfind('/') + 1);
}

INSTANTIATE_TEST_SUITE_P(Methods, LedgerOf, testing::ValuesIn(kPaths), NameOf);

TEST(Ledger, AddsUpUnderMixedEndings) {
  ServerOptions options = TestOptions();
  options.unread_timeout = milliseconds(300);
  FakeControl control;
  TestModel model;
  model.model.step_time = milliseconds(5);
  model.control = &control;
  TestServer server(options, model);
  constexpr int kRounds = 5;
  std::map<std::string, int> expected;
  const auto long_one = IdsRequest<v1::StreamSummarizeRequest>(3, 190).SerializeAsString();
  auto document = IdsRequest<v1::SummarizeManyRequest>(3, 190);
  document.set_id("a");
  for (int round = 0; round < kRounds; ++round) {
    RawHttp2 client(server.server().port());
    std::vector<uint32_t> begun;
    for (const Path& path : kPaths) {
      begun.push_back(client.Call(path.path));
      ++expected[Key(path, "cancelled")];
      client.Call(path.path, false, "300m");
      ++expected[Key(path, "deadline_exceeded")];
      client.Call(path.path, true);
      client.Message(client.Call(path.path), "\xff\xff\xff");
      expected[Key(path, "invalid_argument")] += 2;
    }
    const Path& path = kPaths[round % std::size(kPaths)];
    SendTooLarge(server, path.path);
    client.Call("/no.Service/Method", true);
    ++expected["Unknown unimplemented"];
    client.Sync();
    for (const uint32_t stream : begun) client.Cancel(stream);
    // Gone in the middle of a stream and of a document.
    client.Message(client.Call(kStream), long_one);
    const uint32_t many = client.Call(kMany);
    client.Document(many, document.SerializeAsString());
    ++expected["StreamSummarize cancelled"];
    ++expected["SummarizeMany cancelled"];
    ASSERT_TRUE(Eventually([&] { return server.engine().stats().decoding == 2; }));
    control.stuck = true;
    ASSERT_TRUE(
        Eventually([&] { return CountOf(server, "deadline_exceeded") == (round + 1) * 6; }));
    client.Leave();
    ASSERT_TRUE(Eventually([&] { return CountOf(server, "cancelled") == (round + 1) * 8; }));
    control.stuck = false;
    ASSERT_TRUE(server.BecomesIdle());
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    ASSERT_TRUE(
        server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 2), &response).ok());
    ++expected["Summarize ok"];
  }
  EXPECT_TRUE(LedgerBecomes(server, expected));
  // What runs when the server ends is neither its client's nor late; a call without a message has
  // not begun then.
  grpc::ClientContext context;
  const auto reader =
      server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(3, 190));
  v1::StreamSummarizeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  RawHttp2 client(server.server().port());
  client.Call(kPaths[0].path);
  client.Sync();
  server.server().Stop();
  while (reader->Read(&event)) {
  }
  reader->Finish();
  ++expected["StreamSummarize stopped"];
  EXPECT_TRUE(LedgerBecomes(server, expected));
}

}  // namespace
}  // namespace precis
