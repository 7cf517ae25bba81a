// The Open Inference Protocol, in process: what is told of the model, unary answers, every refusal.
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "gtest/gtest.h"
#include "server/open_inference/tensors.h"
#include "server/rpc/unknown_method.h"
#include "tests/server/open_inference/client.h"

namespace precis {
namespace {

using grpc::StatusCode;

grpc::Status Infer(InferStub& stub, const ModelInferRequest& request,
                   ModelInferResponse* response) {
  grpc::ClientContext context;
  return stub.ModelInfer(&context, request, response);
}

double Counted(TestServer& server, const std::string& method, const std::string& outcome) {
  for (const auto& family : server.server().metrics().registry()->Collect()) {
    if (family.name != "precis_requests_total") continue;
    for (const auto& metric : family.metric) {
      if (metric.label[0].value == method && metric.label[1].value == outcome) {
        return metric.counter.value;
      }
    }
  }
  return -1;
}

TEST(OpenInference, AnswersATextWithAllOutputs) {
  TestServer server;
  const auto stub = NewInferStub(server);
  const std::string text = InferText('a', 9);
  ModelInferResponse response;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "abc-1");
  const auto status = stub->ModelInfer(&context, InferRequestOf({text}), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_name(), "fake");
  EXPECT_EQ(response.model_version(), "1");
  EXPECT_EQ(response.id(), "mine");
  ASSERT_EQ(response.outputs_size(), 4);
  ASSERT_EQ(response.raw_output_contents_size(), 4);
  for (const auto& output : response.outputs()) {
    EXPECT_EQ(output.shape_size(), 2);
    EXPECT_FALSE(output.has_contents());
  }
  EXPECT_EQ(OutputTexts(response, "text_output"), std::vector{InferAnswer(text)});
  EXPECT_EQ(OutputTexts(response, "finish_reason"), std::vector<std::string>{"end_of_sequence"});
  EXPECT_EQ(OutputCounts(response, "source_tokens"), std::vector{3u});
  EXPECT_EQ(OutputCounts(response, "generated_tokens"), std::vector{9u});
  EXPECT_EQ(context.GetServerInitialMetadata().find("x-request-id")->second, "abc-1");
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(Counted(server, "ModelInfer", "ok"), 1);
}

TEST(OpenInference, TypedContentsAndFlatShapesAreTakenToo) {
  TestServer server;
  const auto stub = NewInferStub(server);
  ModelInferRequest request;
  request.set_model_name("fake");
  request.set_model_version("1");
  auto* text = request.add_inputs();
  text->set_name("text_input");
  text->set_datatype("BYTES");
  text->add_shape(1);
  text->mutable_contents()->add_bytes_contents(InferText('a', 30));
  auto* most = request.add_inputs();
  most->set_name("max_tokens");
  most->set_datatype("INT32");
  most->add_shape(1);
  most->mutable_contents()->add_int_contents(7);
  request.add_outputs()->set_name("finish_reason");
  request.add_outputs()->set_name("text_output");
  ModelInferResponse response;
  const auto status = Infer(*stub, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs(0).name(), "finish_reason") << "those asked for, in their order";
  EXPECT_EQ(response.outputs(1).shape_size(), 1);
  EXPECT_EQ(OutputTexts(response, "text_output"), std::vector{InferAnswer(InferText('a', 30), 7)});
  EXPECT_EQ(OutputTexts(response, "finish_reason"), std::vector<std::string>{"length"});
}

TEST(OpenInference, TextsOfOneRequestAreAnsweredInTheirOrderWithTheirOwnOptions) {
  TestServer server;
  const auto stub = NewInferStub(server);
  std::vector<std::string> texts;
  std::vector<std::string> expected;
  std::vector<int32_t> most;
  for (uint32_t i = 0; i < 8; ++i) {
    texts.push_back(InferText(static_cast<char>('a' + i), 60 - 5 * i));
    most.push_back(i == 3 ? 4 : 200);
    expected.push_back(InferAnswer(texts.back(), static_cast<uint32_t>(most.back())));
  }
  ModelInferRequest request = InferRequestOf(texts);
  request.mutable_parameters()->erase("max_tokens");
  AddRaw("max_tokens", "INT32", {8, 1}, RawNumbers(most), &request);
  ModelInferResponse response;
  const auto status = Infer(*stub, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(OutputTexts(response, "text_output"), expected);
  EXPECT_EQ(response.outputs(0).shape(0), 8);
  EXPECT_EQ(OutputTexts(response, "finish_reason")[3], "length");
  EXPECT_TRUE(server.BecomesIdle());
  EXPECT_EQ(Counted(server, "ModelInfer", "ok"), 8) << "each text is a request to the metrics";
}

TEST(OpenInference, OptionsSaidAsTensorsOrParametersDoTheSame) {
  TestServer server;
  const auto stub = NewInferStub(server);
  const std::string text = InferText('a', 30);
  const std::string answer = InferAnswer(text);
  const std::string stop = answer.substr(answer.find(' ', 20) + 1, 4);
  std::vector<std::string> found;
  for (const bool tensors : {false, true}) {
    ModelInferRequest request = InferRequestOf({text});
    if (tensors) {
      AddRaw("stop", "BYTES", {1, 2}, RawTexts({stop, ""}), &request);
      AddRaw("temperature", "FP32", {1}, RawNumbers<float>({0.5f}), &request);
      AddRaw("random_seed", "UINT64", {1, 1}, RawNumbers<uint64_t>({7}), &request);
    } else {
      auto& parameters = *request.mutable_parameters();
      parameters["stop"].set_string_param(stop);
      parameters["temperature"].set_double_param(0.5);
      parameters["seed"].set_int64_param(7);
    }
    ModelInferResponse response;
    const auto status = Infer(*stub, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(OutputTexts(response, "finish_reason"), std::vector<std::string>{"stop_string"});
    found.push_back(OutputTexts(response, "text_output")[0]);
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[0], answer.substr(0, answer.find(stop)));
}

TEST(OpenInference, TellsServerModelAndConfiguration) {
  TestServer server;
  const auto stub = NewInferStub(server);
  grpc::ClientContext c1, c2, c3, c4, c5, c6;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub->ServerLive(&c1, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub->ServerReady(&c2, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ServerMetadataResponse who;
  ASSERT_TRUE(stub->ServerMetadata(&c3, {}, &who).ok());
  EXPECT_EQ(who.name(), "precis");
  inference::ModelMetadataRequest about;
  about.set_name("fake");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(stub->ModelMetadata(&c4, about, &metadata).ok());
  inference::ModelConfigRequest asked;
  asked.set_name("fake");
  inference::ModelConfigResponse config;
  ASSERT_TRUE(stub->ModelConfig(&c5, asked, &config).ok());
  EXPECT_TRUE(config.config().model_transaction_policy().decoupled());
  EXPECT_EQ(config.config().max_batch_size(), 8);
  EXPECT_EQ(config.config().parameters().at("fingerprint").string_value(), "0123456789abcdef");
  ASSERT_EQ(metadata.inputs_size(), config.config().input_size());
  for (int i = 0; i < metadata.inputs_size(); ++i) {
    EXPECT_EQ(metadata.inputs(i).name(), config.config().input(i).name());
    EXPECT_NE(metadata.inputs(i).datatype(), "");
    EXPECT_EQ(config.config().input(i).optional(), i > 0);
  }
  EXPECT_EQ(metadata.inputs(0).name(), "text_input");
  EXPECT_EQ(metadata.outputs(0).name(), "text_output");
  inference::RepositoryIndexResponse index;
  ASSERT_TRUE(stub->RepositoryIndex(&c6, {}, &index).ok());
  ASSERT_EQ(index.models_size(), 1);
  EXPECT_EQ(index.models(0).state(), "READY");
}

TEST(OpenInference, AnotherModelIsNotReadyAndElsewhereNotFound) {
  TestServer server;
  const auto stub = NewInferStub(server);
  for (const bool version : {false, true}) {
    grpc::ClientContext c1, c2, c3;
    inference::ModelReadyRequest asked;
    asked.set_name(version ? "fake" : "other");
    asked.set_version(version ? "2" : "");
    inference::ModelReadyResponse ready;
    ASSERT_TRUE(stub->ModelReady(&c1, asked, &ready).ok());
    EXPECT_FALSE(ready.ready());
    inference::ModelConfigRequest config;
    config.set_name(asked.name());
    config.set_version(asked.version());
    inference::ModelConfigResponse config_response;
    const auto status = stub->ModelConfig(&c2, config, &config_response);
    EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
    EXPECT_EQ(FieldIn(status), version ? "version" : "name");
    ModelInferRequest request = InferRequestOf({"ab"});
    request.set_model_name(asked.name());
    request.set_model_version(asked.version());
    ModelInferResponse response;
    const auto refused = Infer(*stub, request, &response);
    EXPECT_EQ(refused.error_code(), StatusCode::NOT_FOUND);
    EXPECT_EQ(FieldIn(refused), version ? "model_version" : "model_name");
  }
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInference, StatisticsAddUp) {
  TestServer server;
  const auto stub = NewInferStub(server);
  ModelInferResponse response;
  ASSERT_TRUE(
      Infer(*stub, InferRequestOf({InferText('a', 20), InferText('b', 20)}), &response).ok());
  grpc::ClientContext other;
  v1::SummarizeResponse summary;
  ASSERT_TRUE(
      server.stub().Summarize(&other, IdsRequest<v1::SummarizeRequest>(1, 5), &summary).ok());
  EXPECT_FALSE(Infer(*stub, ModelInferRequest(), &response).ok());
  grpc::ClientContext context;
  inference::ModelStatisticsResponse all;
  ASSERT_TRUE(stub->ModelStatistics(&context, {}, &all).ok());
  ASSERT_EQ(all.model_stats_size(), 1);
  const auto& stats = all.model_stats(0).inference_stats();
  EXPECT_EQ(all.model_stats(0).inference_count(), 3u) << "documents of every protocol";
  EXPECT_EQ(stats.success().count(), 3u);
  EXPECT_EQ(stats.fail().count(), 1u);
  EXPECT_GT(stats.compute_infer().ns(), 0u);
  EXPECT_EQ(stats.queue().ns() + stats.compute_infer().ns() + stats.compute_input().ns(),
            stats.success().ns());
  EXPECT_GT(all.model_stats(0).execution_count(), 20u);
  EXPECT_GT(all.model_stats(0).last_inference(), 1'600'000'000'000u);
}

TEST(OpenInference, HealthAnswersForTheService) {
  TestServer server;
  const auto health = grpc::health::v1::Health::NewStub(server.NewChannel());
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("inference.GRPCInferenceService");
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(health->Check(&context, request, &response).ok());
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST(OpenInference, MethodsThatAreNotServedSayWhy) {
  TestServer server;
  const std::pair<const char*, const char*> cases[] = {
      {"/inference.GRPCInferenceService/RepositoryModelLoad", "started with"},
      {"/inference.GRPCInferenceService/CudaSharedMemoryRegister", "shared memory"},
      {"/inference.GRPCInferenceService/TraceSetting", "operator"},
      {"/precis.v9.SummarizationService/Summarize", "no service here"},
  };
  for (const auto& [path, why] : cases) {
    const std::string method = path;
    grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
    grpc::ClientContext context;
    inference::ServerLiveRequest request;
    inference::ServerLiveResponse response;
    const auto channel = server.NewChannel();
    const grpc::Status status =
        grpc::internal::BlockingUnaryCall(channel.get(), rpc, &context, request, &response);
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_NE(status.error_message().find(why), std::string::npos) << status.error_message();
    EXPECT_EQ(context.GetServerTrailingMetadata().count("x-request-id"), 1u) << "authenticated";
  }
  EXPECT_EQ(Counted(server, "Unknown", "unimplemented"), 4);
}

struct BadCase {
  const char* field;
  std::function<void(ModelInferRequest&)> spoil;
};

std::vector<BadCase> BadCases() {
  using R = ModelInferRequest;
  const auto number = [](const char* name, double value) {
    return [name, value](R& r) { (*r.mutable_parameters())[name].set_double_param(value); };
  };
  const auto whole = [](const char* name, int64_t value) {
    return [name, value](R& r) { (*r.mutable_parameters())[name].set_int64_param(value); };
  };
  const auto raw = [](const char* name, const char* type, std::vector<int64_t> shape,
                      std::string bytes) {
    return [=](R& r) { AddRaw(name, type, shape, bytes, &r); };
  };
  return {
      {"text_input", [](R& r) { r.clear_inputs(), r.clear_raw_input_contents(); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_datatype("INT32"); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_datatype("FP16"); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->clear_shape(); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_shape(0, 2); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_shape(0, -1); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_shape(0, 0); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_shape(0, int64_t{1} << 62); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->set_shape(1, 3); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->add_shape(1); }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, "abc"); }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, RawTexts({"ab"}).substr(0, 5)); }},
      {"text_input",
       [](R& r) {
         r.set_raw_input_contents(0, RawTexts({"ab", "cd"}));
       }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, RawTexts({""})); }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, RawTexts({"a\xff"})); }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, RawTexts({std::string(2000, 'a')})); }},
      {"text_input", [](R& r) { r.set_raw_input_contents(0, RawTexts({std::string(900, 'a')})); }},
      {"text_input", [](R& r) { r.mutable_inputs(0)->mutable_contents(); }},
      {"text_input",
       [](R& r) {
         (*r.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("a");
       }},
      {"text_input", raw("text_input", "BYTES", {1, 1}, RawTexts({"ab"}))},
      {"raw_input_contents", [](R& r) { r.add_raw_input_contents("a"); }},
      {"id", [](R& r) { r.set_id(std::string(1025, 'a')); }},
      {"colour", raw("colour", "BYTES", {1}, RawTexts({"red"}))},
      {"inputs[1]", raw("a colour", "BYTES", {1}, RawTexts({"red"}))},
      {"colour", whole("colour", 1)},
      {"text_input", whole("text_input", 1)},
      {"sequence_id", whole("sequence_id", 1)},
      {"colour", [](R& r) { r.add_outputs()->set_name("colour"); }},
      {"text_output",
       [](R& r) {
         r.add_outputs()->set_name("text_output"), r.add_outputs()->set_name("text_output");
       }},
      {"text_output",
       [](R& r) {
         auto* output = r.add_outputs();
         output->set_name("text_output");
         (*output->mutable_parameters())["classification"].set_int64_param(2);
       }},
      {"max_tokens", whole("max_tokens", 0)},
      {"max_tokens", whole("max_tokens", -1)},
      {"max_tokens", whole("max_tokens", 201)},
      {"max_tokens", whole("max_tokens", int64_t{1} << 32)},
      {"max_tokens", number("max_tokens", 5)},
      {"max_tokens", [](R& r) { (*r.mutable_parameters())["max_tokens"].Clear(); }},
      {"max_tokens", raw("max_tokens", "INT32", {1}, RawNumbers<int32_t>({5}))},  // said twice
      {"min_tokens", raw("min_tokens", "INT32", {2}, RawNumbers<int32_t>({5, 5}))},
      {"min_tokens", raw("min_tokens", "INT32", {1, 2}, RawNumbers<int32_t>({5, 5}))},
      {"min_tokens", raw("min_tokens", "FP32", {1}, RawNumbers<float>({5}))},
      {"min_tokens", raw("min_tokens", "INT32", {1}, "abc")},
      {"min_tokens", whole("min_tokens", 201)},
      {"beam_width", whole("beam_width", 17)},
      {"temperature", number("temperature", -1)},
      {"temperature", number("temperature", NAN)},
      {"temperature", raw("temperature", "BYTES", {1}, RawTexts({"hot"}))},
      {"top_p", number("top_p", 1.5)},
      {"repetition_penalty", number("repetition_penalty", 0)},
      {"seed",
       [](R& r) {
         (*r.mutable_parameters())["random_seed"].set_int64_param(1);
         (*r.mutable_parameters())["seed"].set_int64_param(1);
       }},
      {"stop", raw("stop", "BYTES", {2, 2}, RawTexts({"a", "b", "c", "d"}))},
      {"stop", raw("stop", "BYTES", {65}, RawTexts(std::vector<std::string>(65, "a")))},
      {"stop", raw("stop", "BYTES", {1}, RawTexts({"\xff"}))},
      {"stop", raw("stop", "INT32", {1}, RawNumbers<int32_t>({5}))},
      {"stop[0]", [](R& r) { (*r.mutable_parameters())["stop"].set_string_param(""); }},
      {"parameters", whole("a colour", 1)},
      {"prefix",
       [](R& r) {  // 240 bytes, five times
         r.clear_inputs();
         r.clear_raw_input_contents();
         AddRaw("text_input", "BYTES", {5}, RawTexts({"a", "b", "c", "d", "e"}), &r);
         (*r.mutable_parameters())["prefix"].set_string_param(std::string(240, 'a'));
       }},
      {"long_document_policy",
       [](R& r) { (*r.mutable_parameters())["long_document_policy"].set_string_param("skip"); }},
      {"priority", whole("priority", 4)},
      {"timeout", whole("timeout", -1)},
      {"stream", whole("stream", 1)},
      {"stream", [](R& r) { (*r.mutable_parameters())["stream"].set_bool_param(true); }},  // unary
  };
}

TEST(OpenInference, EveryBadTensorAndParameterIsNamed) {
  TestServer server;
  const auto stub = NewInferStub(server);
  for (const BadCase& bad : BadCases()) {
    ModelInferRequest request = InferRequestOf({"ab"});
    bad.spoil(request);
    ModelInferResponse response;
    const auto status = Infer(*stub, request, &response);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT)
        << bad.field << ": " << status.error_message();
    const std::string field = FieldIn(status);
    // One fault of the two is told: whichever name is read first.
    EXPECT_TRUE(field == bad.field || (bad.field == std::string("seed") && field == "random_seed"))
        << bad.field << " is told as " << field << ": " << status.error_message();
  }
  EXPECT_TRUE(server.BecomesIdle());
}

TEST(OpenInference, OneBadTextOfManyIsNamedByItsPlace) {
  TestServer server;
  const auto stub = NewInferStub(server);
  ModelInferResponse response;
  auto status = Infer(*stub, InferRequestOf({"ab", "", "cd"}), &response);
  EXPECT_EQ(FieldIn(status), "text_input[1]");
  // Seen by the engine alone, when the others run already.
  status =
      Infer(*stub, InferRequestOf({InferText('a', 120), "cd", std::string(900, 'a')}), &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(status), "text_input[2]");
  EXPECT_EQ(ReasonIn(status), "TOO_LARGE");
  EXPECT_NE(status.error_message().find("; set long_document_policy: truncate"), std::string::npos);
  EXPECT_TRUE(server.BecomesIdle());
}

}  // namespace
}  // namespace precis
