#include "common/status.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(Status, HasTheCodeOfItsMaker) {
  EXPECT_EQ(InvalidArgument("m").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(NotFound("m").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FailedPrecondition("m").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Unimplemented("m").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Unavailable("m").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Internal("m").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DataLoss("m").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Internal("what went wrong").message(), "what went wrong");
}

TEST(Status, AFieldErrorNamesItsFieldInMessageAndPayload) {
  const Status status = FieldError("options.top_p", "must be in (0, 1]");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "options.top_p: must be in (0, 1]");
  EXPECT_EQ(FieldOf(status), "options.top_p");
  EXPECT_EQ(ReasonOf(status), std::nullopt);
}

TEST(Status, AnUnimplementedFieldIsUnimplemented) {
  const Status status = FieldUnimplemented("options.beams", "not yet");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(FieldOf(status), "options.beams");
}

TEST(Status, EveryReasonSurvivesItsPayload) {
  for (const Reason reason :
       {Reason::kQueueFull, Reason::kPoolFull, Reason::kQuota, Reason::kTooLarge, Reason::kDraining,
        Reason::kStopped, Reason::kDeviceFailed}) {
    const Status status = ReasonError(absl::StatusCode::kResourceExhausted, reason, "full");
    EXPECT_EQ(ReasonOf(status), reason);
    EXPECT_EQ(FieldOf(status), std::nullopt);
    EXPECT_EQ(status.message(), "full");
  }
}

TEST(Status, PlainErrorsHaveNeitherFieldNorReason) {
  EXPECT_EQ(FieldOf(NotFound("m")), std::nullopt);
  EXPECT_EQ(ReasonOf(NotFound("m")), std::nullopt);
  EXPECT_EQ(FieldOf(OkStatus()), std::nullopt);
  EXPECT_EQ(ReasonOf(OkStatus()), std::nullopt);
}

TEST(Status, AnnotateKeepsCodeAndPayloads) {
  const Status field = Annotate(FieldError("text", "is empty"), "item 7");
  EXPECT_EQ(field.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(field.message(), "item 7: text: is empty");
  EXPECT_EQ(FieldOf(field), "text");
  const Status reason =
      Annotate(ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining, "bye"), "engine");
  EXPECT_EQ(ReasonOf(reason), Reason::kDraining);
}

TEST(Status, AnnotateLeavesOkAlone) { EXPECT_TRUE(Annotate(OkStatus(), "context").ok()); }

StatusOr<std::unique_ptr<int>> Positive(int value) {
  if (value <= 0) return FieldError("value", "must be positive");
  return std::make_unique<int>(value);
}

Status AddPositives(int a, int b, int* sum) {
  PRECIS_ASSIGN_OR_RETURN(const std::unique_ptr<int> left, Positive(a));
  PRECIS_ASSIGN_OR_RETURN(const std::unique_ptr<int> right, Positive(b));
  *sum = *left + *right;
  return OkStatus();
}

Status AddTwice(int a, int b, int* sum) {
  PRECIS_RETURN_IF_ERROR(AddPositives(a, b, sum));
  *sum *= 2;
  return OkStatus();
}

TEST(Status, MacrosPassValuesOnAndReturnErrorsWithTheirPayloads) {
  int sum = 0;
  EXPECT_TRUE(AddTwice(1, 2, &sum).ok());
  EXPECT_EQ(sum, 6);
  EXPECT_EQ(FieldOf(AddTwice(1, -2, &sum)), "value");
  EXPECT_EQ(sum, 6) << "nothing after the error ran";
}

}  // namespace
}  // namespace precis
