// A document of nothing but white space is refused by every RPC, naming its field, also where a
// prefix stands before it.
#include <string>

#include "gtest/gtest.h"
#include "tests/server/open_inference/client.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;

constexpr const char* kBlank = " \n\t ";

template <typename Request>
Request Blank(const std::string& prefix) {
  Request request;
  request.set_text(kBlank);
  request.mutable_options()->set_prefix(prefix);
  return request;
}

class BlankDocuments : public testing::TestWithParam<const char*> {
 protected:
  TestServer server_;
};

TEST_P(BlankDocuments, AreRefusedByUnaryAndStream) {
  grpc::ClientContext unary, streamed;
  v1::SummarizeResponse response;
  const auto one =
      server_.stub().Summarize(&unary, Blank<v1::SummarizeRequest>(GetParam()), &response);
  EXPECT_EQ(one.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(one), "text");
  auto stream =
      server_.stub().StreamSummarize(&streamed, Blank<v1::StreamSummarizeRequest>(GetParam()));
  v1::StreamSummarizeResponse event;
  EXPECT_FALSE(stream->Read(&event));
  const auto status = stream->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(status), "text");
}

TEST_P(BlankDocuments, FailInTheirResultOfABulkStream) {
  grpc::ClientContext context;
  auto stream = server_.stub().SummarizeMany(&context);
  auto request = Blank<v1::SummarizeManyRequest>(GetParam());
  request.set_id("a");
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  v1::SummarizeManyResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), "a");
  ASSERT_TRUE(response.has_error());
  EXPECT_EQ(response.error().code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(response.error().message().substr(0, 6), "text: ");
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(BlankDocuments, AreNamedInTheWordsOfTheOpenInferenceProtocol) {
  const auto stub = NewInferStub(server_);
  ModelInferRequest request = InferRequestOf({"a text", kBlank});
  (*request.mutable_parameters())["prefix"].set_string_param(GetParam());
  grpc::ClientContext context;
  ModelInferResponse response;
  const auto status = stub->ModelInfer(&context, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(status), "text_input[1]");
}

INSTANTIATE_TEST_SUITE_P(Prefixes, BlankDocuments, testing::Values("", "summarize: "));

}  // namespace
}  // namespace precis
