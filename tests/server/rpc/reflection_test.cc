// Reflection under both its names, and off.
#include "server/rpc/reflection.h"

#include <set>
#include <string>

#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

ServerOptions WithReflection(bool on) {
  ServerOptions options = TestOptions();
  options.reflection = on;
  return options;
}

// The answer of one question, or of the call's failure as an error.
template <typename Service, typename Request, typename Response>
Response Ask(const TestServer& server, const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stub = Service::NewStub(server.NewChannel());
  const auto stream = stub->ServerReflectionInfo(&context);
  Response response;
  stream->Write(request);
  const bool answered = stream->Read(&response);
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  if (!answered) response.mutable_error_response()->set_error_code(status.error_code());
  return response;
}

struct V1 {
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
  static Response Ask(const TestServer& server, const Request& request) {
    return precis::Ask<grpc::reflection::v1::ServerReflection, Request, Response>(server, request);
  }
};
struct V1Alpha {
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
  static Response Ask(const TestServer& server, const Request& request) {
    return precis::Ask<grpc::reflection::v1alpha::ServerReflection, Request, Response>(server,
                                                                                       request);
  }
};

template <typename Api>
class ReflectionTest : public testing::Test {};
using Apis = testing::Types<V1, V1Alpha>;
TYPED_TEST_SUITE(ReflectionTest, Apis);

TYPED_TEST(ReflectionTest, ListsWhatIsServed) {
  const TestServer server(WithReflection(true));
  typename TypeParam::Request request;
  request.set_list_services("*");
  const auto response = TypeParam::Ask(server, request);
  std::set<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.insert(service.name());
  }
  EXPECT_EQ(names, (std::set<std::string>{"precis.v1.SummarizationService",
                                          "inference.GRPCInferenceService", "grpc.health.v1.Health",
                                          "grpc.reflection.v1.ServerReflection",
                                          "grpc.reflection.v1alpha.ServerReflection"}));
  // Each of them can be asked for.
  for (const std::string& name : names) {
    typename TypeParam::Request file;
    file.set_file_containing_symbol(name);
    EXPECT_GT(TypeParam::Ask(server, file).file_descriptor_response().file_descriptor_proto_size(),
              0)
        << name;
  }
}

TYPED_TEST(ReflectionTest, AFileComesWithAllThatItImports) {
  const TestServer server(WithReflection(true));
  typename TypeParam::Request request;
  request.set_host("here");
  request.set_file_by_filename("inference/open_inference.proto");
  const auto response = TypeParam::Ask(server, request);
  EXPECT_EQ(response.valid_host(), "here");
  EXPECT_EQ(response.original_request().file_by_filename(), "inference/open_inference.proto");
  std::set<std::string> have, wanted;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    if (have.empty()) {
      EXPECT_EQ(file.name(), "inference/open_inference.proto") << "what was asked comes first";
    }
    EXPECT_TRUE(have.insert(file.name()).second) << file.name() << " twice";
    wanted.insert(file.dependency().begin(), file.dependency().end());
  }
  for (const std::string& name : wanted) EXPECT_TRUE(have.contains(name)) << name;
}

TYPED_TEST(ReflectionTest, WhatIsNotThereIsAnErrorOfThatQuestion) {
  const TestServer server(WithReflection(true));
  typename TypeParam::Request request;
  request.set_file_containing_symbol("no.Such");
  EXPECT_EQ(TypeParam::Ask(server, request).error_response().error_code(),
            grpc::StatusCode::NOT_FOUND);
  request.set_all_extension_numbers_of_type("precis.v1.Summary");
  EXPECT_EQ(TypeParam::Ask(server, request).all_extension_numbers_response().base_type_name(),
            "precis.v1.Summary");
  EXPECT_EQ(TypeParam::Ask(server, {}).error_response().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TYPED_TEST(ReflectionTest, IsGoneWhenItIsOff) {
  const TestServer server(WithReflection(false));
  typename TypeParam::Request request;
  request.set_list_services("*");
  EXPECT_EQ(TypeParam::Ask(server, request).error_response().error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace precis
