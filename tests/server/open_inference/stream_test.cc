// ModelStreamInfer, and what clients, deadlines and the end of the server do to both calls.
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/open_inference/client.h"

namespace precis {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;

TestModel SlowModel(FakeControl* control = nullptr) {
  TestModel model;
  model.model.step_time = milliseconds(5);
  model.control = control;
  return model;
}

ModelInferRequest StreamRequest(const std::string& text, const std::string& id,
                                bool stream = true) {
  ModelInferRequest request = InferRequestOf({text});
  request.set_id(id);
  (*request.mutable_parameters())["stream"].set_bool_param(stream);
  return request;
}

struct InferCall {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<ModelInferRequest, ModelStreamInferResponse>> stream;
  ModelStreamInferResponse response;

  explicit InferCall(InferStub& stub) : stream(stub.ModelStreamInfer(&context)) {}
  // All that comes, by id, in order.
  std::map<std::string, std::vector<ModelStreamInferResponse>> ReadAll() {
    std::map<std::string, std::vector<ModelStreamInferResponse>> out;
    while (stream->Read(&response)) out[response.infer_response().id()].push_back(response);
    return out;
  }
};

std::string Joined(const std::vector<ModelStreamInferResponse>& responses) {
  std::string text;
  for (const auto& response : responses) {
    if (response.infer_response().outputs_size() == 0) continue;
    text += OutputTexts(response.infer_response(), "text_output")[0];
  }
  return text;
}

TEST(OpenInferenceStream, PiecesJoinedAreTheTextAndTheLastSaysSo) {
  TestServer server(TestOptions(), SlowModel());
  const auto stub = NewInferStub(server);
  InferCall call(*stub);
  const std::string text = InferText('a', 40);
  ASSERT_TRUE(call.stream->Write(StreamRequest(text, "one")));
  call.stream->WritesDone();
  const auto all = call.ReadAll();
  ASSERT_TRUE(call.stream->Finish().ok());
  ASSERT_EQ(all.size(), 1u);
  const auto& responses = all.at("one");
  ASSERT_GT(responses.size(), 2u);
  EXPECT_EQ(Joined(responses), InferAnswer(text));
  for (size_t i = 0; i < responses.size(); ++i) {
    EXPECT_EQ(IsFinal(responses[i]), i + 1 == responses.size());
    EXPECT_EQ(responses[i].error_message(), "");
  }
  EXPECT_EQ(responses[0].infer_response().outputs_size(), 1) << "a piece is text alone";
  const ModelInferResponse& last = responses.back().infer_response();
  EXPECT_EQ(OutputTexts(last, "finish_reason")[0], "end_of_sequence");
  EXPECT_EQ(OutputCounts(last, "generated_tokens")[0], 40u);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, AnEmptyFinalResponseComesWhenAskedFor) {
  TestServer server;
  const auto stub = NewInferStub(server);
  for (const bool stream : {true, false}) {
    InferCall call(*stub);
    ModelInferRequest request = StreamRequest(InferText('a', 10), "one", stream);
    (*request.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
    ASSERT_TRUE(call.stream->Write(request));
    call.stream->WritesDone();
    const auto responses = call.ReadAll().at("one");
    ASSERT_TRUE(call.stream->Finish().ok());
    EXPECT_EQ(Joined(responses), InferAnswer(InferText('a', 10)));
    EXPECT_TRUE(IsFinal(responses.back()));
    const int last_outputs = responses.back().infer_response().outputs_size();
    if (stream) {
      ASSERT_GE(responses.size(), 3u);
      EXPECT_EQ(last_outputs, 0);
      EXPECT_EQ(OutputCounts(responses[responses.size() - 2].infer_response(), "generated_tokens"),
                std::vector{10u});
    } else {
      EXPECT_EQ(responses.size(), 1u);
      EXPECT_EQ(last_outputs, 4);
    }
  }
}

TEST(OpenInferenceStream, BeamsAreAnsweredOnceAndWhole) {
  TestServer server;
  const auto stub = NewInferStub(server);
  ModelInferRequest request = StreamRequest(InferText('a', 30), "one");
  (*request.mutable_parameters())["beam_width"].set_int64_param(2);
  InferCall call(*stub);
  ASSERT_TRUE(call.stream->Write(request));
  call.stream->WritesDone();
  const auto responses = call.ReadAll().at("one");
  ASSERT_TRUE(call.stream->Finish().ok());
  ASSERT_EQ(responses.size(), 1u);
  request.mutable_parameters()->erase("stream");
  grpc::ClientContext context;
  ModelInferResponse whole;
  ASSERT_TRUE(stub->ModelInfer(&context, request, &whole).ok());
  EXPECT_NE(Joined(responses), "");
  EXPECT_EQ(Joined(responses), OutputTexts(whole, "text_output")[0]);
}

TEST(OpenInferenceStream, AFailureFailsAloneAndTheStreamGoesOn) {
  ServerOptions options = TestOptions();
  options.max_queue = 4;
  options.stream_outstanding = 3;
  TestServer server(options);
  const auto stub = NewInferStub(server);
  InferCall call(*stub);
  constexpr int kRequests = 40;
  std::thread writer([&call] {
    for (int i = 0; i < kRequests; ++i) {
      ModelInferRequest request =
          StreamRequest(InferText(static_cast<char>('A' + i % 26), 5), fmt::format("{}", i));
      if (i % 5 == 3) (*request.mutable_parameters())["top_p"].set_double_param(7);
      if (i % 5 == 4) request.set_model_name("other");
      EXPECT_TRUE(call.stream->Write(request));
    }
    call.stream->WritesDone();
  });
  const auto all = call.ReadAll();
  writer.join();
  ASSERT_TRUE(call.stream->Finish().ok());
  ASSERT_EQ(all.size(), static_cast<size_t>(kRequests));
  for (int i = 0; i < kRequests; ++i) {
    const auto& responses = all.at(fmt::format("{}", i));
    EXPECT_TRUE(IsFinal(responses.back()));
    const std::string& error = responses.back().error_message();
    const auto& parameters = responses.back().infer_response().parameters();
    if (i % 5 == 3) {
      EXPECT_EQ(error.rfind("top_p: ", 0), 0u) << error;
      EXPECT_EQ(parameters.at("reason").string_param(), "INVALID_ARGUMENT");
    } else if (i % 5 == 4) {
      EXPECT_EQ(parameters.at("reason").string_param(), "NOT_FOUND");
    } else {
      EXPECT_EQ(Joined(responses), InferAnswer(InferText(static_cast<char>('A' + i % 26), 5)));
    }
  }
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, SeveralTextsAreAnsweredTogetherButNotInPieces) {
  TestServer server;
  const auto stub = NewInferStub(server);
  InferCall call(*stub);
  ModelInferRequest request = InferRequestOf({InferText('a', 9), InferText('b', 5)});
  ASSERT_TRUE(call.stream->Write(request));
  request.set_id("pieces");
  (*request.mutable_parameters())["stream"].set_bool_param(true);
  ASSERT_TRUE(call.stream->Write(request));
  call.stream->WritesDone();
  const auto all = call.ReadAll();
  ASSERT_TRUE(call.stream->Finish().ok());
  ASSERT_EQ(all.at("mine").size(), 1u);
  EXPECT_EQ(OutputTexts(all.at("mine")[0].infer_response(), "text_output"),
            (std::vector{InferAnswer(InferText('a', 9)), InferAnswer(InferText('b', 5))}));
  EXPECT_EQ(all.at("pieces").back().error_message().rfind("stream: ", 0), 0u);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, AFullQueueRefusesTheUnaryCallAndHoldsUpTheStream) {
  FakeControl control;
  ServerOptions options = TestOptions();
  options.max_queue = 3;
  TestServer server(options, SlowModel(&control));
  const auto stub = NewInferStub(server);
  control.stuck = true;
  InferCall call(*stub);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(call.stream->Write(StreamRequest(InferText('a', 5), fmt::format("{}", i))));
  }
  ASSERT_TRUE(Eventually([&] { return server.server().core().admission.requests() == 3; }));
  grpc::ClientContext context;
  ModelInferResponse response;
  const auto status = stub->ModelInfer(&context, InferRequestOf({"ab"}), &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(status), "QUEUE_FULL");
  EXPECT_EQ(context.GetServerTrailingMetadata().count("retry-after"), 1u);
  control.stuck = false;
  call.stream->WritesDone();
  const auto all = call.ReadAll();
  EXPECT_TRUE(call.stream->Finish().ok());
  EXPECT_EQ(all.size(), 6u);
  for (const auto& [id, responses] : all)
    EXPECT_EQ(Joined(responses), InferAnswer(InferText('a', 5)));
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, ARequestWithoutRoomForAllItsTextsTakesNone) {
  ServerOptions options = TestOptions();
  options.max_queue = 8;
  options.max_queue_tokens = 450;  // two of 200 new tokens, not three
  TestServer server(options);
  const auto stub = NewInferStub(server);
  grpc::ClientContext context;
  ModelInferResponse response;
  const auto status = stub->ModelInfer(&context, InferRequestOf({"ab", "cd", "ef"}), &response);
  EXPECT_EQ(ReasonIn(status), "QUEUE_FULL");
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(server.server().core().admission.tokens(), 0u);
}

TEST(OpenInferenceStream, AClientThatLeavesGivesEverythingBack) {
  TestServer server(TestOptions(), SlowModel());
  const auto stub = NewInferStub(server);
  {
    InferCall call(*stub);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(call.stream->Write(StreamRequest(InferText('a', 120), fmt::format("{}", i))));
    }
    ASSERT_TRUE(call.stream->Read(&call.response));
    call.context.TryCancel();
    EXPECT_EQ(call.stream->Finish().error_code(), StatusCode::CANCELLED);
  }
  EXPECT_TRUE(server.BecomesIdle());
  grpc::ClientContext context;
  std::thread leave([&] {
    EXPECT_TRUE(Eventually([&] { return server.engine().stats().decoding == 2; }));
    context.TryCancel();
  });
  ModelInferResponse response;
  const auto status = stub->ModelInfer(
      &context, InferRequestOf({InferText('a', 120), InferText('b', 120)}), &response);
  leave.join();
  EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, DeadlineAndTimeoutEndARequest) {
  TestServer server(TestOptions(), SlowModel());
  const auto stub = NewInferStub(server);
  ModelInferRequest request = InferRequestOf({InferText('a', 120), InferText('b', 120)});
  ModelInferResponse response;
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(60));
    EXPECT_EQ(stub->ModelInfer(&context, request, &response).error_code(),
              StatusCode::DEADLINE_EXCEEDED);
  }
  (*request.mutable_parameters())["timeout"].set_int64_param(60'000);
  grpc::ClientContext context;
  EXPECT_EQ(stub->ModelInfer(&context, request, &response).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInferenceStream, ADrainFinishesWhatRunsAndTellsItIsAliveAndNotReady) {
  TestServer server(TestOptions(), SlowModel());
  const auto stub = NewInferStub(server);
  InferCall call(*stub);
  ASSERT_TRUE(call.stream->Write(StreamRequest(InferText('a', 60), "one")));
  ASSERT_TRUE(call.stream->Read(&call.response));
  std::string text = OutputTexts(call.response.infer_response(), "text_output")[0];
  server.server().BeginDrain();
  grpc::ClientContext c1, c2, c3;
  ModelInferResponse response;
  const auto refused = stub->ModelInfer(&c1, InferRequestOf({"ab"}), &response);
  EXPECT_EQ(refused.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(refused), "DRAINING");
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub->ServerLive(&c2, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub->ServerReady(&c3, {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  for (const auto& [id, responses] : call.ReadAll()) text += Joined(responses);
  EXPECT_EQ(text, InferAnswer(InferText('a', 60)));
  const auto closed = call.stream->Finish();
  EXPECT_EQ(closed.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(closed), "DRAINING");
  EXPECT_TRUE(server.server().WaitIdle(std::chrono::seconds(30)));
}

TEST(OpenInferenceStream, StopEndsEverythingWithUnavailable) {
  FakeControl control;
  TestServer server(TestOptions(), SlowModel(&control));
  const auto stub = NewInferStub(server);
  InferCall call(*stub);
  ASSERT_TRUE(call.stream->Write(StreamRequest(InferText('a', 120), "one")));
  ASSERT_TRUE(call.stream->Read(&call.response));
  control.stuck = true;
  std::thread stopper([&server] { server.server().Stop(); });
  const auto all = call.ReadAll();
  EXPECT_EQ(call.stream->Finish().error_code(), StatusCode::UNAVAILABLE);
  stopper.join();
  control.stuck = false;
  const auto found = all.find("one");
  ASSERT_NE(found, all.end());
  EXPECT_EQ(found->second.back().infer_response().parameters().at("reason").string_param(),
            "STOPPED");
}

// Streams side by side: reads are begun by whoever took in, wrote, or gave a place back.
TEST(OpenInferenceStream, StreamsSideBySideAnswerEachRequestOnce) {
  ServerOptions options = TestOptions();
  options.max_queue = 8;
  options.stream_outstanding = 3;
  TestServer server(options);
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&server] {
      const auto stub = NewInferStub(server);
      for (int round = 0; round < 5; ++round) {
        InferCall call(*stub);
        std::thread writer([&call] {
          for (int i = 0; i < 40; ++i) {
            call.stream->Write(StreamRequest(InferText(static_cast<char>('A' + i % 26), 4 + i % 7),
                                             fmt::format("{}", i), i % 2 == 0));
          }
          call.stream->WritesDone();
        });
        const auto all = call.ReadAll();
        writer.join();
        EXPECT_TRUE(call.stream->Finish().ok());
        ASSERT_EQ(all.size(), 40u);
        for (const auto& [id, responses] : all) {
          const int i = std::stoi(id);
          EXPECT_EQ(Joined(responses),
                    InferAnswer(InferText(static_cast<char>('A' + i % 26), 4 + i % 7)));
        }
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_TRUE(server.BecomesIdle());
}

}  // namespace
}  // namespace precis
