#include "server/observe/errors.h"

#include <set>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

template <typename Message>
bool Find(const google::rpc::Status& status, Message* message) {
  for (const auto& any : status.details()) {
    if (any.UnpackTo(message)) return true;
  }
  return false;
}

TEST(Errors, AFieldErrorNamesItsFieldInBadRequest) {
  const auto status = ToRpcStatus(FieldError("options.top_p", "is 2"));
  EXPECT_EQ(status.code(), 3);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(Find(status, &bad));
  EXPECT_EQ(bad.field_violations(0).field(), "options.top_p");
  google::rpc::RetryInfo retry;
  EXPECT_FALSE(Find(status, &retry)) << "trying again does not help";
}

TEST(Errors, AFullQueueSaysItsReasonAndWhenToRetry) {
  const auto status =
      ToRpcStatus(ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQueueFull, "full"));
  EXPECT_EQ(status.code(), 8);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(Find(status, &info));
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "precis");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(Find(status, &retry));
  EXPECT_GE(retry.retry_delay().seconds(), 1);
}

TEST(Errors, AServerThatEndsKeepsNobodyFromAskingAnother) {
  for (const Reason reason : {Reason::kDraining, Reason::kStopped, Reason::kDeviceFailed}) {
    const auto status = ToRpcStatus(ReasonError(absl::StatusCode::kUnavailable, reason, ""));
    google::rpc::RetryInfo retry;
    ASSERT_TRUE(Find(status, &retry));
    EXPECT_EQ(retry.retry_delay().seconds(), 1) << "a proxy waits so long before it asks another";
  }
}

TEST(Errors, TooLargeNamesFieldAndReason) {
  const Status status = FieldTooLarge("text", "has 9 bytes");
  EXPECT_EQ(*FieldOf(status), "text");
  EXPECT_STREQ(OutcomeOf(status).label, "too_large");
  EXPECT_EQ(ToRpcStatus(status).code(), 3);
  EXPECT_EQ(ToRpcStatus(FieldNotFound("model", "none")).code(), 5);
}

TEST(Errors, EveryReasonHasARowWithALabelOfItsOwn) {
  for (const Reason reason :
       {Reason::kQueueFull, Reason::kPoolFull, Reason::kQuota, Reason::kTooLarge, Reason::kDraining,
        Reason::kStopped, Reason::kDeviceFailed}) {
    const auto& row = OutcomeOf(ReasonError(absl::StatusCode::kUnavailable, reason, ""));
    EXPECT_EQ(row.reason, reason);
  }
  std::set<std::string> labels;
  for (const OutcomeRow& row : OutcomeTable()) EXPECT_TRUE(labels.insert(row.label).second);
}

TEST(Errors, WhatTheTableDoesNotNameIsInternal) {
  EXPECT_STREQ(OutcomeOf(DataLoss("x")).label, "internal");
  EXPECT_EQ(ToRpcStatus(DataLoss("x")).code(), 13);
}

}  // namespace
}  // namespace precis
