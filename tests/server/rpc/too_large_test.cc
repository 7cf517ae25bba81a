// What a source that is too long is told, over the wire.
#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

TEST(TooLarge, SaysWhatTheRequestCanDo) {
  TestServer server;
  using R = v1::SummarizeRequest;
  const auto message = [&server](const std::function<void(R&)>& enlarge) {
    R request;
    enlarge(request);
    grpc::ClientContext context;
    v1::SummarizeResponse response;
    const grpc::Status status = server.stub().Summarize(&context, request, &response);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  const auto ids = [](R& r, int count) {
    for (int i = 0; i < count; ++i) r.mutable_token_ids()->add_ids(5);
  };
  const std::string read_otherwise = "; set long_document_policy: truncate reads its beginning";
  EXPECT_THAT(message([](R& r) { r.set_text(std::string(900, 'a')); }), HasSubstr(read_otherwise));
  EXPECT_THAT(message([&](R& r) { ids(r, 300); }), HasSubstr(read_otherwise));
  EXPECT_THAT(message([](R& r) { r.set_text(std::string(1001, 'a')); }),
              HasSubstr("(--max-text-bytes); send it in parts"));
  EXPECT_THAT(message([&](R& r) {
                ids(r, 20'000);
                r.mutable_options()->set_long_document_policy(v1::LONG_DOCUMENT_POLICY_WINDOWS);
              }),
              HasSubstr("at most 64 windows are read; send it in parts"));
}

}  // namespace
}  // namespace precis
