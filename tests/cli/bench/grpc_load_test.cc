// Load on a server, seen from the client: what is sent, and which outcomes there are.
#include "cli/bench/grpc_load.h"

#include <chrono>
#include <thread>

#include "cli/client/connect.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/client/fake_service.h"

namespace precis::cli {
namespace {

using testing::HasSubstr;

v1::StreamSummarizeResponse DeltaOf(const std::string& text) {
  v1::StreamSummarizeResponse event;
  event.mutable_delta()->set_text(text);
  return event;
}

v1::StreamSummarizeResponse FinishedOf(uint32_t tokens) {
  v1::StreamSummarizeResponse event;
  event.mutable_finished()->mutable_summary()->set_generated_tokens(tokens);
  return event;
}

// Until there is an outcome or an error.
Status TakeAll(GrpcTarget& target, std::vector<LoadOutcome>* outcomes) {
  while (outcomes->empty()) {
    PRECIS_RETURN_IF_ERROR(target.Take(outcomes));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return OkStatus();
}

TEST(GrpcTarget, SendsIdsAndCountsFromTheStream) {
  FakeService service;
  service.events = {DeltaOf("a"), DeltaOf("b"), DeltaOf("c"), FinishedOf(3)};
  GrpcTarget target(*Connect(service.address()));
  ASSERT_TRUE(target.Send(7, {{5, 6, 1}, 3}).ok());
  std::vector<LoadOutcome> outcomes;
  ASSERT_TRUE(TakeAll(target, &outcomes).ok());
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].index, 7u);
  EXPECT_TRUE(outcomes[0].finished);
  EXPECT_GT(outcomes[0].first_token_s, 0);
  EXPECT_GE(outcomes[0].total_s, outcomes[0].first_token_s);
  EXPECT_EQ(outcomes[0].inter_token_s.size(), 2u);
  EXPECT_THAT(service.received.token_ids().ids(), testing::ElementsAre(5, 6, 1));
  EXPECT_EQ(service.received.options().max_new_tokens(), 3u);
  EXPECT_EQ(service.received.options().min_new_tokens(), 3u);
  EXPECT_EQ(service.received.options().num_beams(), 1u);
  EXPECT_EQ(service.received.options().drafting(), v1::DRAFTING_OFF);
}

TEST(GrpcTarget, RefusesASummaryOfAnotherLength) {
  FakeService service;
  service.events = {FinishedOf(2)};
  GrpcTarget target(*Connect(service.address()));
  ASSERT_TRUE(target.Send(0, {{1}, 3}).ok());
  std::vector<LoadOutcome> outcomes;
  EXPECT_EQ(TakeAll(target, &outcomes), Internal("2 tokens were generated, 3 were asked for"));
}

TEST(GrpcTarget, TellsTheServersError) {
  FakeService service;
  service.status = grpc::Status(grpc::StatusCode::INTERNAL, "a step has failed");
  GrpcTarget target(*Connect(service.address()));
  ASSERT_TRUE(target.Send(0, {{1}, 3}).ok());
  std::vector<LoadOutcome> outcomes;
  EXPECT_THAT(std::string(TakeAll(target, &outcomes).message()), HasSubstr("a step has failed"));
}

TEST(GrpcTarget, AFullQueuesRefusalIsAnOutcome) {
  FakeService service;
  service.status = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  GrpcTarget target(*Connect(service.address()));
  ASSERT_TRUE(target.Send(2, {{1}, 3}).ok());
  std::vector<LoadOutcome> outcomes;
  ASSERT_EQ(TakeAll(target, &outcomes), OkStatus());
  EXPECT_EQ(outcomes[0].index, 2u);
  EXPECT_FALSE(outcomes[0].finished);
}

TEST(GrpcTarget, SaysThatThereIsNoServer) {
  const GrpcTarget target(*Connect("127.0.0.1:1"));
  EXPECT_EQ(target.Model().status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace precis::cli
