// Bytes that are no message are refused, naming the field that is wrong where one is.
#include <string>

#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;

// Sends bytes that no generated client would.
grpc::Status SendRaw(TestServer& server, const std::string& bytes,
                     const std::string& method = "Summarize") {
  grpc::GenericStub stub(server.NewChannel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  auto call = stub.PrepareUnaryCall(&context, "/precis.v1.SummarizationService/" + method,
                                    grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

TEST(Calls, BrokenUtf8IsInvalidArgumentNamingItsField) {
  TestServer server;
  const auto text = SendRaw(server,
                            "\x1a\x03"
                            "a\xff"
                            "b");  // field 3
  EXPECT_EQ(text.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldIn(text), "text");
  const auto stop = SendRaw(server,
                            "\x1a\x01"
                            "a\x2a\x03\x6a\x01\xff");  // 5 { 13: "\xff" }
  EXPECT_EQ(FieldIn(stop), "options.stop");
  const auto garbage = SendRaw(server, "\xff\xff\xff");
  EXPECT_EQ(garbage.error_code(), StatusCode::INVALID_ARGUMENT);
  const auto in_bulk = SendRaw(server, "\xff\xff\xff", "SummarizeMany");
  EXPECT_EQ(in_bulk.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(in_bulk.error_message(), "the bytes sent are not a precis.v1.SummarizeManyRequest");
  EXPECT_EQ(FieldIn(in_bulk), "");
  const auto id = SendRaw(server,
                          "\x1a\x01"
                          "a\x32\x01\xff",
                          "SummarizeMany");  // 6: id
  EXPECT_EQ(FieldIn(id), "id");
}

}  // namespace
}  // namespace precis
