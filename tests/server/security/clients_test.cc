// Tokens and limits of clients in a running server: who gets in, who is refused with what reason,
// and what a reload changes.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "server/security/transport.h"
#include "tests/server/open_inference/client.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr char kAlpha[] = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
constexpr char kBeta[] = "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753";

class TokenFile {
 public:
  explicit TokenFile(const std::string& text)
      : path_(testing::TempDir() + "precis_tokens_" + std::to_string(getpid())) {
    Write(text);
  }
  ~TokenFile() { unlink(path_.c_str()); }
  // Appears whole, as docs/security.md asks.
  void Write(const std::string& text, mode_t mode = 0600) {
    const std::string partial = path_ + ".partial";
    std::ofstream(partial) << text;
    EXPECT_EQ(chmod(partial.c_str(), mode), 0);
    EXPECT_EQ(rename(partial.c_str(), path_.c_str()), 0);
  }
  ServerOptions Options() const {
    ServerOptions options = TestOptions();
    options.insecure = true;
    options.auth_tokens = path_;
    return options;
  }

 private:
  const std::string path_;
};

grpc::Status Summarize(TestServer& server, grpc::ClientContext& context, uint32_t length = 2) {
  v1::SummarizeResponse response;
  return server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, length), &response);
}

grpc::Status SummarizeWith(TestServer& server, const std::string& header, uint32_t length = 2) {
  grpc::ClientContext context;
  if (!header.empty()) context.AddMetadata("authorization", header);
  return Summarize(server, context, length);
}

// Of all metrics of that name which have a label of that value.
double ValueOf(TestServer& server, const std::string& name, const std::string& label) {
  double sum = 0;
  for (const auto& family : server.server().metrics().registry()->Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      for (const auto& [key, value] : metric.label) {
        if (value == label) sum += metric.counter.value + metric.gauge.value;
      }
    }
  }
  return sum;
}

TEST(Tokens, AKnownTokenGetsInAndEverythingElseHearsTheSameWords) {
  const TokenFile file(std::string("a ") + kAlpha);
  TestServer server(file.Options());
  EXPECT_TRUE(SummarizeWith(server, "Bearer alpha").ok());
  EXPECT_TRUE(SummarizeWith(server, "bearer  alpha").ok()) << "as RFC 7235 has it";
  const grpc::Status none = SummarizeWith(server, "");
  EXPECT_EQ(none.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ReasonIn(none), "UNAUTHENTICATED");
  for (const std::string bad : {"Bearer beta", "Bearer ", "Bearer", "alpha", "Basic alpha",
                                "Bearer alpha beta", "Bearer alphaa"}) {
    const grpc::Status refused = SummarizeWith(server, bad);
    EXPECT_EQ(refused.error_code(), StatusCode::UNAUTHENTICATED) << bad;
    EXPECT_EQ(refused.error_message(), none.error_message()) << bad;
    EXPECT_EQ(refused.error_details(), none.error_details()) << bad;
  }
  grpc::ClientContext twice;
  twice.AddMetadata("authorization", "Bearer alpha");
  twice.AddMetadata("authorization", "Bearer alpha");
  EXPECT_EQ(Summarize(server, twice).error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Tokens, EveryMethodNeedsOneAndHealthDoesNot) {
  const TokenFile file(std::string("a ") + kAlpha);
  TestServer server(file.Options());
  {
    grpc::ClientContext context;
    auto reader =
        server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(1, 2));
    v1::StreamSummarizeResponse event;
    EXPECT_FALSE(reader->Read(&event));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNAUTHENTICATED);
  }
  {
    grpc::ClientContext context;
    auto stream = server.stub().SummarizeMany(&context);
    v1::SummarizeManyResponse response;
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNAUTHENTICATED);
  }
  grpc::ClientContext models_context, health_context;
  v1::ListModelsResponse models;
  EXPECT_EQ(server.stub().ListModels(&models_context, {}, &models).error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(models.models_size(), 0);
  auto health = grpc::health::v1::Health::NewStub(server.NewChannel());
  grpc::health::v1::HealthCheckResponse answer;
  EXPECT_TRUE(health->Check(&health_context, {}, &answer).ok());
  EXPECT_EQ(answer.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(ValueOf(server, "precis_requests_total", "unauthenticated"), 3);
}

TEST(Tokens, AreReadAgainWhenTheFileChangesAndABadFileChangesNothing) {
  TokenFile file(std::string("a ") + kAlpha);
  TestServer server(file.Options());
  file.Write(std::string("b ") + kBeta);
  EXPECT_TRUE(Eventually([&] { return SummarizeWith(server, "Bearer beta").ok(); }));
  EXPECT_EQ(SummarizeWith(server, "Bearer alpha").error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ValueOf(server, "precis_reload_failed", "tokens"), 0);

  file.Write("b nothing");
  EXPECT_TRUE(Eventually([&] { return ValueOf(server, "precis_reload_failed", "tokens") == 1; }));
  EXPECT_TRUE(SummarizeWith(server, "Bearer beta").ok()) << "the old ones stay";
  file.Write(std::string("a ") + kAlpha, 0644);
  const Status open = server.server().Reload();
  EXPECT_THAT(std::string(open.message()), HasSubstr("0644"));
  EXPECT_TRUE(SummarizeWith(server, "Bearer beta").ok());
  file.Write(std::string("a ") + kAlpha);
  EXPECT_TRUE(server.server().Reload().ok());
  EXPECT_TRUE(SummarizeWith(server, "Bearer alpha").ok());
  EXPECT_EQ(ValueOf(server, "precis_reload_failed", "tokens"), 0);
}

// Callers and reloads at once: under ThreadSanitizer this is what sees a race between them.
TEST(Tokens, AreReplacedUnderLoad) {
  TokenFile file(std::string("a ") + kAlpha);
  TestServer server(file.Options());
  std::atomic<bool> stop{false};
  std::thread reloader([&] {
    while (!stop) EXPECT_TRUE(server.server().Reload().ok());
  });
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(SummarizeWith(server, "Bearer alpha").ok());
  stop = true;
  reloader.join();
}

TEST(Limits, OneClientsQuotaIsItsOwn) {
  const TokenFile file(std::string("a ") + kAlpha + " requests=1\nb " + kBeta);
  TestModel model;
  model.model.step_time = milliseconds(5);
  TestServer server(file.Options(), model);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alpha");
  auto reader =
      server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(3, 190));
  v1::StreamSummarizeResponse event;
  ASSERT_TRUE(reader->Read(&event));
  const grpc::Status refused = SummarizeWith(server, "Bearer alpha");
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(refused), "QUOTA");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(refused).has_value());
  EXPECT_TRUE(SummarizeWith(server, "Bearer beta").ok());
  context.TryCancel();
  while (reader->Read(&event)) {
  }
  reader->Finish().IgnoreError();
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_TRUE(SummarizeWith(server, "Bearer alpha").ok());
}

TEST(Limits, OpenInferenceCallsCountAndHealthDoesNot) {
  // The first call takes all credit, for hours.
  const TokenFile file(std::string("a ") + kAlpha + " tokens-per-second=1 burst=100\nb " + kBeta);
  TestServer server(file.Options());
  const auto stub = NewInferStub(server);
  const ModelInferRequest request = InferRequestOf({InferText('a', 3)});
  const auto infer = [&](const char* header) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", header);
    ModelInferResponse response;
    return stub->ModelInfer(&context, request, &response);
  };
  ASSERT_TRUE(infer("Bearer alpha").ok());
  const grpc::Status refused = infer("Bearer alpha");
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(refused), "QUOTA");
  EXPECT_EQ(SummarizeWith(server, "Bearer alpha").error_code(), StatusCode::RESOURCE_EXHAUSTED)
      << "one credit for both protocols";
  EXPECT_TRUE(infer("Bearer beta").ok());
  for (int i = 0; i < 3; ++i) {
    grpc::ClientContext live_context, health_context;
    live_context.AddMetadata("authorization", "Bearer alpha");
    inference::ServerLiveResponse live;
    EXPECT_TRUE(stub->ServerLive(&live_context, {}, &live).ok());
    grpc::health::v1::HealthCheckResponse answer;
    auto health = grpc::health::v1::Health::NewStub(server.NewChannel());
    EXPECT_TRUE(health->Check(&health_context, {}, &answer).ok());
  }
}

TEST(Limits, TheTextsOfARequestAreLetInTogetherOrCostNothing) {
  const TokenFile file(std::string("a ") + kAlpha +
                       " requests=2 tokens-per-second=1 burst=100\nb " + kBeta +
                       " requests=2 tokens-per-second=1 burst=100");
  TestServer server(file.Options());
  const auto stub = NewInferStub(server);
  const std::string text = InferText('a', 3);
  const auto infer = [&](const char* header, const std::vector<std::string>& texts) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", header);
    ModelInferResponse response;
    return stub->ModelInfer(&context, InferRequestOf(texts), &response);
  };
  EXPECT_TRUE(infer("Bearer alpha", {text, text}).ok()) << "any credit lets any cost through";
  EXPECT_EQ(ReasonIn(infer("Bearer alpha", {text})), "QUOTA");
  EXPECT_EQ(ReasonIn(infer("Bearer beta", {text, text, text})), "QUOTA");
  EXPECT_TRUE(infer("Bearer beta", {text, text}).ok()) << "what was refused has cost nothing";
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Limits, AnInferStreamSpendsItsClientsCreditAndHoldsItsPlace) {
  // One request at once; the first takes all credit, for hours.
  const TokenFile file(std::string("a ") + kAlpha +
                       " requests=1 tokens-per-second=1 burst=100\nb " + kBeta);
  FakeControl control;
  TestModel model;
  model.control = &control;
  TestServer server(file.Options(), model);
  const auto stub = NewInferStub(server);
  const ModelInferRequest request = InferRequestOf({InferText('a', 3)});
  const auto refusal = [&] {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer alpha");
    context.set_deadline(std::chrono::system_clock::now() + seconds(20));  // let in, it is stuck
    ModelInferResponse response;
    const grpc::Status status = stub->ModelInfer(&context, request, &response);
    EXPECT_EQ(ReasonIn(status), "QUOTA");
    return status.error_message();
  };
  const auto open = [&](grpc::ClientContext& context, const char* header) {
    context.AddMetadata("authorization", header);
    auto stream = stub->ModelStreamInfer(&context);
    EXPECT_TRUE(stream->Write(request));
    stream->WritesDone();
    return stream;
  };
  control.stuck = true;
  grpc::ClientContext alpha, beta;
  ModelStreamInferResponse response;
  auto stream = open(alpha, "Bearer alpha");
  ASSERT_TRUE(Eventually([&] { return server.server().core().admission.tokens() > 0; }));
  EXPECT_THAT(refusal(), HasSubstr("1 requests of this client are under way"));
  control.stuck = false;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  ASSERT_TRUE(server.BecomesIdle());
  EXPECT_THAT(refusal(), HasSubstr("has used up its rate"));
  alpha.TryCancel();  // without credit the server does not read, not even the stream's end
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  auto neighbour = open(beta, "Bearer beta");
  ASSERT_TRUE(neighbour->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  EXPECT_FALSE(neighbour->Read(&response));
  EXPECT_TRUE(neighbour->Finish().ok());
}

TEST(Limits, ARateSaysWhenToComeAgain) {
  // A request here costs 2 + 200 tokens.
  const TokenFile file(std::string("a ") + kAlpha + " tokens-per-second=1 burst=100");
  TestServer server(file.Options());
  EXPECT_TRUE(SummarizeWith(server, "Bearer alpha").ok());
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alpha");
  const grpc::Status refused = Summarize(server, context);
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonIn(refused), "QUOTA");
  const auto retry = DetailOf<google::rpc::RetryInfo>(refused);
  ASSERT_TRUE(retry.has_value());
  EXPECT_GT(retry->retry_delay().seconds(), 60);
  EXPECT_LE(retry->retry_delay().seconds(), 103);
  const auto& trailing = context.GetServerTrailingMetadata();
  ASSERT_EQ(trailing.count("retry-after"), 1u);
  EXPECT_GT(std::stoi(std::string(trailing.find("retry-after")->second.data(),
                                  trailing.find("retry-after")->second.size())),
            60);
}

TEST(Limits, ABulkStreamWaitsForItsRateAndIsRefusedNothing) {
  // Each document costs 202: at 2,020 a second the fourth must wait for the first three's debt.
  const TokenFile file(std::string("a ") + kAlpha + " tokens-per-second=2020 burst=202");
  TestServer server(file.Options());
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alpha");
  const auto begin = std::chrono::steady_clock::now();
  auto stream = server.stub().SummarizeMany(&context);
  constexpr int kDocuments = 6;
  for (int i = 0; i < kDocuments; ++i) {
    auto request = IdsRequest<v1::SummarizeManyRequest>(i, 2);
    request.set_id(fmt::format("{}", i));
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  int summaries = 0;
  v1::SummarizeManyResponse response;
  while (stream->Read(&response)) summaries += response.has_summary() ? 1 : 0;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(summaries, kDocuments);
  // The first is free; of the other five, each waits until the one before is paid.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(350));
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Limits, AnInferStreamWaitsForItsRateAndIsRefusedNothing) {
  // Each request costs 3 + 200 tokens, with </s>; as in the test above.
  const TokenFile file(std::string("a ") + kAlpha + " tokens-per-second=2030 burst=203");
  TestServer server(file.Options());
  const auto stub = NewInferStub(server);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alpha");
  const auto begin = std::chrono::steady_clock::now();
  auto stream = stub->ModelStreamInfer(&context);
  constexpr int kRequests = 6;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Write(InferRequestOf({InferText(static_cast<char>('a' + i), 3)})));
  }
  stream->WritesDone();
  int answers = 0;
  ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.error_message(), "");
    ++answers;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers, kRequests);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(350));
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Limits, PriorityAndDeadlineAreCutToTheClients) {
  const TokenFile file(std::string("a ") + kAlpha + " max-priority=low max-timeout=60ms\nb " +
                       kBeta);
  TestModel model;
  model.model.step_time = milliseconds(5);
  TestServer server(file.Options(), model);
  EXPECT_EQ(SummarizeWith(server, "Bearer alpha", 190).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(SummarizeWith(server, "Bearer beta", 60).ok());
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer alpha");
  v1::SummarizeResponse response;
  auto request = IdsRequest<v1::SummarizeRequest>(1, 1);
  request.mutable_options()->set_priority(v1::PRIORITY_HIGH);
  ASSERT_TRUE(server.stub().Summarize(&context, request, &response).ok());
  EXPECT_EQ(response.summary().effective_options().priority(), v1::PRIORITY_LOW);
}

TEST(Limits, WithoutTokensAddressesHaveThem) {
  ServerOptions options = TestOptions();
  options.client_limits = *ParseClientLimits("tokens-per-second=1 burst=100", {});
  TestServer server(options);
  EXPECT_TRUE(SummarizeWith(server, "").ok());
  EXPECT_EQ(ReasonIn(SummarizeWith(server, "")), "QUOTA");
}

TEST(CrossCache, OneClientsDocumentIsNoHitForAnother) {
  const TokenFile file(std::string("a ") + kAlpha + "\nb " + kBeta);
  TestServer server(file.Options());
  const auto hit = [&server](const std::string& header) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", header);
    v1::SummarizeResponse response;
    EXPECT_TRUE(
        server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 2), &response).ok());
    return response.summary().cache_hit();
  };
  EXPECT_FALSE(hit("Bearer alpha"));
  EXPECT_TRUE(hit("Bearer alpha"));
  EXPECT_FALSE(hit("Bearer beta"));
}

TEST(Transport, TokensAndForeignAddressesNeedEncryptionOrAWord) {
  ServerOptions options;
  EXPECT_TRUE(CheckTransport(options).ok());
  const auto error = [&options] { return std::string(CheckTransport(options).message()); };
  options.auth_tokens = "file";
  EXPECT_THAT(error(), HasSubstr("--auth-tokens: tokens would travel without encryption"));
  options.listen = "unix:/run/precis";
  EXPECT_THAT(error(), HasSubstr("--auth-tokens"));
  options.insecure = true;
  EXPECT_EQ(error(), "");
  options = ServerOptions();
  options.listen = "0.0.0.0:1";
  EXPECT_THAT(error(), HasSubstr("--listen: 0.0.0.0:1 is reachable from other machines"));
  options.tls_cert = "c";
  EXPECT_THAT(error(), HasSubstr("--tls-cert needs --tls-key"));
  options.tls_key = "k";
  options.auth_tokens = "file";
  EXPECT_EQ(error(), "");
  options.tls_cert = options.tls_key = "";
  options.tls_client_ca = "a";
  EXPECT_THAT(error(), HasSubstr("--tls-client-ca needs --tls-cert"));
}

}  // namespace
}  // namespace precis
