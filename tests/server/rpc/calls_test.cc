#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;

TEST(Calls, SummarizeAnswersWithTextAndFacts) {
  TestServer server;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "abc-1");
  v1::SummarizeResponse response;
  const auto status =
      server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 5), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::Summary& summary = response.summary();
  ASSERT_EQ(summary.sequences_size(), 1);
  EXPECT_EQ(summary.sequences(0).text(), ExpectedText(1, 5));
  EXPECT_EQ(summary.sequences(0).finish_reason(), v1::FINISH_REASON_END_OF_SEQUENCE);
  EXPECT_EQ(summary.sequences(0).token_ids_size(), 5);
  EXPECT_FALSE(summary.sequences(0).has_score());
  EXPECT_EQ(summary.source_tokens(), 2u);
  EXPECT_EQ(summary.model(), "fake");
  EXPECT_EQ(summary.request_id(), "abc-1");
  EXPECT_FALSE(summary.has_seed_used());
  EXPECT_EQ(summary.effective_options().max_new_tokens(), 200u);
  EXPECT_EQ(context.GetServerInitialMetadata().find("x-request-id")->second, "abc-1");
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, EffectiveOptionsSentBackAreTaken) {
  TestServer server;
  v1::SummarizeRequest request = IdsRequest<v1::SummarizeRequest>(1, 5);
  v1::SummarizeResponse first, second;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(server.stub().Summarize(&context, request, &first).ok());
  }
  *request.mutable_options() = first.summary().effective_options();
  EXPECT_TRUE(request.options().has_suppressed_token_ids()) << "none, and said so";
  EXPECT_TRUE(request.options().has_bad_words());
  grpc::ClientContext context;
  const auto status = server.stub().Summarize(&context, request, &second);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(second.summary().sequences(0).text(), first.summary().sequences(0).text());
}

// Taken by every model, so that a client may always send it; told where it is used.
TEST(Calls, EffectiveOptionsTellTheNoiseSeedOfModelsWithNoise) {
  for (const bool noisy : {false, true}) {
    TestModel model;
    model.subtracts_noise = noisy;
    TestServer server(TestOptions(), model);
    v1::SummarizeRequest request = IdsRequest<v1::SummarizeRequest>(1, 5);
    for (const uint64_t seed : {uint64_t{0}, ~uint64_t{0}}) {
      if (seed != 0) request.mutable_options()->set_noise_seed(seed);
      grpc::ClientContext context;
      v1::SummarizeResponse response;
      const auto status = server.stub().Summarize(&context, request, &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
      const v1::GenerationOptions& effective = response.summary().effective_options();
      EXPECT_EQ(effective.has_noise_seed(), noisy);
      EXPECT_EQ(effective.noise_seed(), noisy ? seed : 0);
    }
  }
}

TEST(Calls, EffectiveOptionsListForcedAndForbiddenTokens) {
  TestServer server;
  v1::SummarizeRequest request = IdsRequest<v1::SummarizeRequest>(1, 5);
  v1::GenerationOptions& sent = *request.mutable_options();
  sent.set_forced_bos_token_id(0);
  sent.set_forced_eos_token_id(511);
  sent.mutable_suppressed_token_ids()->add_ids(9);
  sent.mutable_bad_words()->add_words()->add_ids(10);
  sent.mutable_bad_words()->mutable_words(0)->add_ids(11);
  grpc::ClientContext context;
  v1::SummarizeResponse response;
  const auto status = server.stub().Summarize(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::GenerationOptions& told = response.summary().effective_options();
  EXPECT_TRUE(told.has_forced_bos_token_id());
  EXPECT_EQ(told.forced_bos_token_id(), 0u);
  EXPECT_EQ(told.forced_eos_token_id(), 511u);
  EXPECT_EQ(told.suppressed_token_ids().SerializeAsString(),
            sent.suppressed_token_ids().SerializeAsString());
  EXPECT_EQ(told.bad_words().SerializeAsString(), sent.bad_words().SerializeAsString());
}

TEST(Calls, TheSameDocumentAgainIsACacheHit) {
  TestServer server;
  for (const bool hit : {false, true}) {
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    const auto request = IdsRequest<v1::SummarizeRequest>(1, 5);
    ASSERT_TRUE(server.stub().Summarize(&context, request, &response).ok());
    EXPECT_EQ(response.summary().cache_hit(), hit);
  }
}

TEST(Calls, PriorityIsClampedAndTold) {
  ServerOptions options = TestOptions();
  options.max_priority = Priority::kNormal;
  TestServer server(options);
  const std::pair<v1::Priority, v1::Priority> cases[] = {
      {v1::PRIORITY_HIGH, v1::PRIORITY_NORMAL},
      {v1::PRIORITY_NORMAL, v1::PRIORITY_NORMAL},
      {v1::PRIORITY_LOW, v1::PRIORITY_LOW},
      {v1::PRIORITY_UNSPECIFIED, v1::PRIORITY_NORMAL},
  };
  for (const auto& [asked, used] : cases) {
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    auto request = IdsRequest<v1::SummarizeRequest>(1, 5);
    if (asked != v1::PRIORITY_UNSPECIFIED) request.mutable_options()->set_priority(asked);
    ASSERT_TRUE(server.stub().Summarize(&context, request, &response).ok());
    EXPECT_EQ(response.summary().effective_options().priority(), used);
  }
}

TEST(Calls, DraftingIsOnUnlessSaidOrSearchingBeams) {
  TestServer server;
  const auto used = [&server](const std::function<void(v1::GenerationOptions*)>& set) {
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    auto request = IdsRequest<v1::SummarizeRequest>(1, 5);
    set(request.mutable_options());
    EXPECT_TRUE(server.stub().Summarize(&context, request, &response).ok());
    return response.summary().effective_options().drafting();
  };
  EXPECT_EQ(used([](auto*) {}), v1::DRAFTING_PROMPT_LOOKUP);
  EXPECT_EQ(used([](auto* o) { o->set_drafting(v1::DRAFTING_OFF); }), v1::DRAFTING_OFF);
  EXPECT_EQ(used([](auto* o) { o->set_num_beams(2); }), v1::DRAFTING_OFF);
}

TEST(Calls, TheQueueCountsSourceAndNewTokensOfAllBeams) {
  ServerOptions options = TestOptions();
  options.max_queue_tokens = 100;
  FakeControl control;
  control.stuck = true;
  TestServer server(options, {.model = {}, .control = &control});
  const auto request = [](uint32_t beams) {
    auto out = IdsRequest<v1::StreamSummarizeRequest>(1, 5);  // two source tokens
    out.mutable_options()->set_num_beams(beams);
    out.mutable_options()->set_max_new_tokens(40);
    return out;
  };
  grpc::ClientContext first, refused, last;
  auto running = server.stub().StreamSummarize(&first, request(1));
  v1::StreamSummarizeResponse event;
  ASSERT_TRUE(running->Read(&event));
  EXPECT_EQ(server.server().core().admission.tokens(), 42u);
  auto too_much = server.stub().StreamSummarize(&refused, request(2));
  EXPECT_FALSE(too_much->Read(&event));
  EXPECT_EQ(too_much->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  auto fits = server.stub().StreamSummarize(&last, request(1));
  ASSERT_TRUE(fits->Read(&event));
  EXPECT_EQ(server.server().core().admission.tokens(), 84u);
  control.stuck = false;
  while (running->Read(&event)) {
  }
  while (fits->Read(&event)) {
  }
  EXPECT_TRUE(running->Finish().ok());
  EXPECT_TRUE(fits->Finish().ok());
}

TEST(Calls, ABeamSearchTellsHowFarItIs) {
  TestServer server;
  grpc::ClientContext context;
  auto request = IdsRequest<v1::StreamSummarizeRequest>(7, 60);
  request.mutable_options()->set_num_beams(2);
  auto reader = server.stub().StreamSummarize(&context, request);
  v1::StreamSummarizeResponse event;
  uint32_t last = 0;
  while (reader->Read(&event)) {
    EXPECT_FALSE(event.has_delta()) << "its text is known at the end";
    if (!event.has_progress() || event.progress().stage() != v1::PROGRESS_STAGE_DECODING) continue;
    EXPECT_GT(event.progress().generated_tokens(), last);
    last = event.progress().generated_tokens();
  }
  ASSERT_TRUE(reader->Finish().ok());
  EXPECT_GE(last, 8u);
}

TEST(Calls, UnsafeRequestIdsAreReplaced) {
  TestServer server;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "a b\"c");
  v1::SummarizeResponse response;
  ASSERT_TRUE(
      server.stub().Summarize(&context, IdsRequest<v1::SummarizeRequest>(1, 1), &response).ok());
  EXPECT_TRUE(IsSafeRequestId(response.summary().request_id()));
  EXPECT_EQ(response.summary().request_id().size(), 16u);
}

TEST(Calls, DeltasJoinedAreTheTextAndFinishedIsLast) {
  TestServer server;
  grpc::ClientContext context;
  auto reader =
      server.stub().StreamSummarize(&context, IdsRequest<v1::StreamSummarizeRequest>(7, 40));
  v1::StreamSummarizeResponse event;
  std::string text;
  std::vector<v1::StreamSummarizeResponse> events;
  while (reader->Read(&event)) {
    events.push_back(event);
    if (event.has_delta()) text += event.delta().text();
  }
  ASSERT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text, ExpectedText(7, 40));
  EXPECT_TRUE(events.front().has_accepted());
  EXPECT_EQ(events.front().accepted().source_tokens(), 2u);
  EXPECT_EQ(events[1].progress().stage(), v1::PROGRESS_STAGE_ENCODING);
  ASSERT_TRUE(events.back().has_finished());
  EXPECT_EQ(events.back().finished().summary().sequences(0).text(), text);
  for (size_t i = 0; i + 1 < events.size(); ++i) EXPECT_FALSE(events[i].has_finished());
  EXPECT_TRUE(server.BecomesIdle());
}

v1::GenerationOptions LongOptions(v1::LongDocumentPolicy policy) {
  v1::GenerationOptions options;
  options.set_max_new_tokens(10);
  options.set_long_document_policy(policy);
  return options;
}

TEST(Calls, ATruncatedDocumentSaysWhatWasDropped) {
  TestServer server;
  for (const bool ids : {false, true}) {
    v1::SummarizeRequest request;
    if (ids) {
      for (int i = 0; i < 900; ++i) request.mutable_token_ids()->add_ids(5);
    } else {
      request.set_text(std::string(900, 'a'));
    }
    *request.mutable_options() = LongOptions(v1::LONG_DOCUMENT_POLICY_TRUNCATE);
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    const auto status = server.stub().Summarize(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    const v1::Summary& summary = response.summary();
    EXPECT_EQ(summary.source_tokens(), 256u);
    EXPECT_EQ(summary.source_tokens_dropped(), ids ? 644u : 645u) << "a text gets its end";
    EXPECT_EQ(summary.windows(), 1u);
    EXPECT_EQ(summary.effective_options().long_document_policy(),
              v1::LONG_DOCUMENT_POLICY_TRUNCATE);
  }
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, WindowsTellTheirProgressAndStreamTheLastPassAlone) {
  TestServer server;
  v1::StreamSummarizeRequest request;
  request.set_text(std::string(900, 'a'));
  *request.mutable_options() = LongOptions(v1::LONG_DOCUMENT_POLICY_WINDOWS);
  grpc::ClientContext context;
  auto reader = server.stub().StreamSummarize(&context, request);
  v1::StreamSummarizeResponse event;
  std::string text;
  std::vector<v1::Progress> progress;
  uint32_t accepted = 0;
  v1::Summary summary;
  while (reader->Read(&event)) {
    if (event.has_accepted()) accepted = event.accepted().source_tokens();
    if (event.has_progress()) progress.push_back(event.progress());
    if (event.has_delta()) text += event.delta().text();
    if (event.has_finished()) summary = event.finished().summary();
  }
  const auto status = reader->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(summary.sequences_size(), 1);
  EXPECT_EQ(summary.sequences(0).text(), text);
  EXPECT_EQ(summary.windows(), 4u);
  EXPECT_EQ(summary.source_tokens(), 901u);
  EXPECT_EQ(accepted, 901u);
  EXPECT_EQ(summary.source_tokens_dropped(), 0u);
  EXPECT_EQ(summary.generated_tokens(), 50u) << "four windows and the summary";
  ASSERT_GE(progress.size(), 3u);
  EXPECT_EQ(progress.front().stage(), v1::PROGRESS_STAGE_ENCODING);
  EXPECT_EQ(progress.front().windows_done(), 0u);
  uint32_t done = 0;
  for (const v1::Progress& p : progress) {
    EXPECT_EQ(p.windows_total(), 4u);
    EXPECT_GE(p.windows_done(), done);
    done = p.windows_done();
  }
  EXPECT_EQ(progress.back().windows_done(), 4u);
  EXPECT_EQ(progress.back().stage(), v1::PROGRESS_STAGE_DECODING);

  v1::SummarizeRequest unary;
  unary.set_text(request.text());
  *unary.mutable_options() = request.options();
  grpc::ClientContext again;
  v1::SummarizeResponse response;
  ASSERT_TRUE(server.stub().Summarize(&again, unary, &response).ok());
  EXPECT_EQ(response.summary().sequences(0).text(), text);
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, AClientThatLeavesAmidWindowsGivesEverythingBack) {
  TestServer server(TestOptions(), {.model = {.step_time = std::chrono::milliseconds(1)}});
  v1::StreamSummarizeRequest request;
  request.set_text(std::string(900, 'a'));
  *request.mutable_options() = LongOptions(v1::LONG_DOCUMENT_POLICY_WINDOWS);
  request.mutable_options()->set_max_new_tokens(200);
  {
    grpc::ClientContext context;
    auto reader = server.stub().StreamSummarize(&context, request);
    v1::StreamSummarizeResponse event;
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  }
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, SamplesStreamByTheirIndex) {
  TestServer server;
  auto request = IdsRequest<v1::StreamSummarizeRequest>(7, 30);
  request.mutable_options()->set_temperature(1);
  request.mutable_options()->set_num_return_sequences(3);
  grpc::ClientContext context;
  auto reader = server.stub().StreamSummarize(&context, request);
  v1::StreamSummarizeResponse event;
  std::vector<std::string> texts(3);
  v1::Summary summary;
  while (reader->Read(&event)) {
    if (event.has_delta()) texts.at(event.delta().sequence_index()) += event.delta().text();
    if (event.has_finished()) summary = event.finished().summary();
  }
  const auto status = reader->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(summary.sequences_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(summary.sequences(i).text(), texts[i]);
  EXPECT_EQ(texts[0], ExpectedText(7, 30)) << "as if it were the only one";
  EXPECT_NE(texts[1], texts[0]);
  EXPECT_NE(texts[2], texts[1]);
  EXPECT_TRUE(server.BecomesIdle());
}

// Sends `documents` documents on one stream, every fifth of them bad, and looks at what comes back.
void CheckBulkStream(v1::SummarizationService::Stub& stub, int documents) {
  grpc::ClientContext context;
  auto stream = stub.SummarizeMany(&context);
  std::thread writer([&stream, documents] {
    for (int i = 0; i < documents; ++i) {
      auto request = IdsRequest<v1::SummarizeManyRequest>(i, 1 + i % 7);
      request.set_id(fmt::format("doc{}", i));
      if (i % 5 == 4) request.mutable_options()->set_top_p(7);
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
  });
  std::map<std::string, v1::SummarizeManyResponse> results;
  v1::SummarizeManyResponse response;
  while (stream->Read(&response)) EXPECT_TRUE(results.emplace(response.id(), response).second);
  writer.join();
  const auto status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(results.size(), static_cast<size_t>(documents));
  for (int i = 0; i < documents; ++i) {
    const auto& result = results[fmt::format("doc{}", i)];
    if (i % 5 == 4) {
      EXPECT_EQ(result.error().code(), StatusCode::INVALID_ARGUMENT);
    } else {
      ASSERT_TRUE(result.has_summary()) << result.error().message();
      EXPECT_EQ(result.summary().sequences(0).text(), ExpectedText(i, 1 + i % 7));
    }
  }
}

TEST(Calls, ManyAnswersEachDocumentOnceAndFailsItemsAlone) {
  ServerOptions options = TestOptions();
  options.max_queue = 4;  // fewer than the documents: reads wait for permits
  options.stream_outstanding = 3;
  TestServer server(options);
  CheckBulkStream(server.stub(), 40);
  EXPECT_TRUE(server.BecomesIdle());
}

// Reads are begun by the thread that took in the last message, by one that wrote a result, and by
// one that gave a permit back: here all of them at once.
TEST(Calls, ManyStreamsSideBySideTakeInEachMessageOnce) {
  ServerOptions options = TestOptions();
  options.max_queue = 8;
  options.stream_outstanding = 3;
  TestServer server(options);
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&server] {
      for (int round = 0; round < 10; ++round) CheckBulkStream(server.stub(), 60);
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, ManyEndsWithTheFieldWhenAnIdIsUsedTwice) {
  TestServer server;
  grpc::ClientContext context;
  auto stream = server.stub().SummarizeMany(&context);
  auto request = IdsRequest<v1::SummarizeManyRequest>(1, 2);
  request.set_id("a");
  ASSERT_TRUE(stream->Write(request));
  stream->Write(request);
  v1::SummarizeManyResponse response;
  int results = 0;
  while (stream->Read(&response)) ++results;
  const auto status = stream->Finish();
  EXPECT_EQ(results, 1) << "what was accepted is answered first";
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(status), "id");
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(Calls, ListModelsTellsLimits) {
  TestServer server;
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(server.stub().ListModels(&context, {}, &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  EXPECT_EQ(response.models(0).name(), "fake");
  EXPECT_EQ(response.models(0).max_source_tokens(), 256u);
  EXPECT_EQ(response.models(0).default_options().num_beams(), 1u);
}

struct BadCase {
  const char* field;
  StatusCode code;
  std::function<void(v1::SummarizeRequest&)> spoil;
};

std::vector<BadCase> BadCases() {
  using R = v1::SummarizeRequest;
  constexpr auto kBad = StatusCode::INVALID_ARGUMENT;
  constexpr auto kNotYet = StatusCode::UNIMPLEMENTED;
  const auto options = [](R& r) { return r.mutable_options(); };
  return {
      {"source", kBad, [](R& r) { r.clear_source(); }},
      {"text", kBad, [](R& r) { r.set_text(""); }},
      {"text", kBad, [](R& r) { r.set_text(std::string(1001, 'a')); }},
      {"text", kBad, [](R& r) { r.set_text(std::string(900, 'a')); }},  // too many tokens
      {"token_ids", kBad, [](R& r) { r.mutable_token_ids()->clear_ids(); }},
      {"token_ids", kBad,
       [](R& r) {
         for (int i = 0; i < 300; ++i) r.mutable_token_ids()->add_ids(5);
       }},
      {"token_ids.ids[2]", kBad, [](R& r) { r.mutable_token_ids()->add_ids(512); }},
      {"model", StatusCode::NOT_FOUND, [](R& r) { r.set_model("other"); }},
      {"adapter", StatusCode::NOT_FOUND, [](R& r) { r.set_adapter("other"); }},
      {"options.max_new_tokens", kBad, [=](R& r) { options(r)->set_max_new_tokens(0); }},
      {"options.max_new_tokens", kBad, [=](R& r) { options(r)->set_max_new_tokens(201); }},
      {"options.min_new_tokens", kBad, [=](R& r) { options(r)->set_min_new_tokens(201); }},
      {"options.num_beams", kBad, [=](R& r) { options(r)->set_num_beams(0); }},
      {"options.num_beams", kBad, [=](R& r) { options(r)->set_num_beams(17); }},
      {"options.num_return_sequences", kBad,
       [=](R& r) { options(r)->set_num_return_sequences(2); }},
      {"options.temperature", kBad, [=](R& r) { options(r)->set_temperature(-1); }},
      {"options.temperature", kBad, [=](R& r) { options(r)->set_temperature(NAN); }},
      {"options.top_p", kBad, [=](R& r) { options(r)->set_top_p(1.5f); }},
      {"options.repetition_penalty", kBad, [=](R& r) { options(r)->set_repetition_penalty(0); }},
      {"options.stop[0]", kBad, [=](R& r) { options(r)->add_stop(""); }},
      {"options.early_stopping", kBad,
       [=](R& r) { options(r)->set_early_stopping(static_cast<v1::EarlyStopping>(9)); }},
      {"options.drafting", kBad,
       [=](R& r) { options(r)->set_drafting(static_cast<v1::Drafting>(9)); }},
      {"options.priority", kBad,
       [=](R& r) { options(r)->set_priority(static_cast<v1::Priority>(9)); }},
      {"options.num_return_sequences", kBad,
       [=](R& r) {
         options(r)->set_temperature(1);
         options(r)->set_num_return_sequences(17);
       }},
      {"options.long_document_policy", kBad,
       [=](R& r) { options(r)->set_long_document_policy(static_cast<v1::LongDocumentPolicy>(9)); }},
      {"options.prefix", kBad,
       [=](R& r) {
         r.set_text(std::string(900, 'a'));
         options(r)->set_prefix(std::string(200, 'a'));
         options(r)->set_long_document_policy(v1::LONG_DOCUMENT_POLICY_WINDOWS);
       }},
      {"token_ids", kBad,  // more than 64 windows
       [=](R& r) {
         for (int i = 0; i < 20'000; ++i) r.mutable_token_ids()->add_ids(5);
         options(r)->set_long_document_policy(v1::LONG_DOCUMENT_POLICY_WINDOWS);
       }},
      {"options.log_probabilities", kNotYet, [=](R& r) { options(r)->set_log_probabilities(0); }},
      {"options.forced_bos_token_id", kBad,
       [=](R& r) { options(r)->set_forced_bos_token_id(512); }},
      {"options.forced_eos_token_id", kBad,
       [=](R& r) { options(r)->set_forced_eos_token_id(4294967295u); }},
      {"options.suppressed_token_ids.ids[0]", kBad,
       [=](R& r) { options(r)->mutable_suppressed_token_ids()->add_ids(512); }},
      {"options.bad_words[0]", kBad, [=](R& r) { options(r)->mutable_bad_words()->add_words(); }},
      {"options.bad_words[1].ids[1]", kBad,
       [=](R& r) {
         options(r)->mutable_bad_words()->add_words()->add_ids(1);
         v1::TokenIds* const word = options(r)->mutable_bad_words()->add_words();
         word->add_ids(511);
         word->add_ids(512);
       }},
  };
}

TEST(Calls, EveryBadFieldIsNamed) {
  TestServer server;
  for (const BadCase& bad : BadCases()) {
    auto request = IdsRequest<v1::SummarizeRequest>(1, 2);
    bad.spoil(request);
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    const auto status = server.stub().Summarize(&context, request, &response);
    EXPECT_EQ(status.error_code(), bad.code) << bad.field << ": " << status.error_message();
    EXPECT_EQ(FieldIn(status), bad.field) << status.error_message();
  }
  EXPECT_TRUE(server.BecomesIdle());
}

}  // namespace
}  // namespace precis
