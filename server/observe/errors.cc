#include "server/observe/errors.h"

#include <chrono>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "fmt/format.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/server_context.h"

namespace precis {
namespace {

using absl::StatusCode;
using std::chrono::seconds;

constexpr Duration kNoRetry{0};
// A second is a few summaries: a place in the queue is likely by then. Whoever ends says no more
// than that either: a balancer has taken it out by then, and one that waits before it asks another
// server, as Envoy does, waits for nothing.
constexpr OutcomeRow kOutcomes[] = {
    {StatusCode::kOk, {}, "ok", "", kNoRetry},
    {StatusCode::kResourceExhausted, Reason::kQueueFull, "queue_full", "QUEUE_FULL", seconds(1)},
    {StatusCode::kResourceExhausted, Reason::kPoolFull, "pool_full", "POOL_FULL", seconds(1)},
    {StatusCode::kResourceExhausted, Reason::kQuota, "quota", "QUOTA", seconds(1)},
    {StatusCode::kInvalidArgument, Reason::kTooLarge, "too_large", "TOO_LARGE", kNoRetry},
    {StatusCode::kUnavailable, Reason::kDraining, "draining", "DRAINING", seconds(1)},
    {StatusCode::kUnavailable, Reason::kStopped, "stopped", "STOPPED", seconds(1)},
    {StatusCode::kUnavailable, Reason::kDeviceFailed, "device_failed", "DEVICE_FAILED", seconds(1)},
    {StatusCode::kInvalidArgument, {}, "invalid_argument", "INVALID_ARGUMENT", kNoRetry},
    {StatusCode::kUnauthenticated, {}, "unauthenticated", "UNAUTHENTICATED", kNoRetry},
    {StatusCode::kNotFound, {}, "not_found", "NOT_FOUND", kNoRetry},
    {StatusCode::kUnimplemented, {}, "unimplemented", "UNIMPLEMENTED", kNoRetry},
    {StatusCode::kCancelled, {}, "cancelled", "CANCELLED", kNoRetry},
    {StatusCode::kAborted, {}, "unread", "UNREAD", kNoRetry},
    {StatusCode::kDeadlineExceeded, {}, "deadline_exceeded", "DEADLINE_EXCEEDED", kNoRetry},
    {StatusCode::kResourceExhausted, {}, "resource_exhausted", "RESOURCE_EXHAUSTED", seconds(1)},
    {StatusCode::kUnavailable, {}, "unavailable", "UNAVAILABLE", seconds(1)},
    // Last: whatever else comes is our fault.
    {StatusCode::kInternal, {}, "internal", "INTERNAL", kNoRetry},
};

constexpr char kRetryPayload[] = "precis/retry_ns";

// When to try again: the status's own word, else its row's. 0: it does not help.
Duration RetryOf(const Status& status, const OutcomeRow& row) {
  const auto payload = status.GetPayload(kRetryPayload);
  int64_t ns = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &ns)) return row.retry;
  return Duration(ns);
}

// Rounded up: a client that comes at that time is not early.
int64_t MillisecondsOf(Duration d) {
  return std::chrono::ceil<std::chrono::milliseconds>(d).count();
}

}  // namespace

std::span<const OutcomeRow> OutcomeTable() { return kOutcomes; }

const OutcomeRow& OutcomeOf(const Status& status) {
  if (const auto reason = ReasonOf(status)) {
    for (const OutcomeRow& row : kOutcomes) {
      if (row.reason == reason) return row;
    }
  }
  for (const OutcomeRow& row : kOutcomes) {
    if (!row.reason && row.code == status.code()) return row;
  }
  return kOutcomes[std::size(kOutcomes) - 1];
}

Status WithRetryAfter(const Status& status, Duration retry) {
  Status out = status;
  out.SetPayload(kRetryPayload, absl::Cord(fmt::format("{}", retry.count())));
  return out;
}

Status FieldNotFound(std::string_view field, std::string_view message) {
  const Status wrong = FieldError(field, message);
  return CopyOf(wrong, StatusCode::kNotFound, std::string(wrong.message()));
}

google::rpc::Status ToRpcStatus(const Status& status) {
  const OutcomeRow& row = OutcomeOf(status);
  const std::string message(status.message());
  google::rpc::Status out;
  // The absl codes are gRPC's. What the table does not name goes out as INTERNAL.
  out.set_code(static_cast<int>(row.code));
  out.set_message(message);
  if (status.ok()) return out;

  const auto field = FieldOf(status);
  if (field) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(*field);
    violation->set_description(message);
    out.add_details()->PackFrom(bad);
  }
  google::rpc::ErrorInfo info;
  info.set_reason(row.wire_reason);
  info.set_domain(kErrorDomain);
  if (field) (*info.mutable_metadata())["field"] = *field;
  out.add_details()->PackFrom(info);
  if (const int64_t ms = MillisecondsOf(RetryOf(status, row)); ms != 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(ms / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
    out.add_details()->PackFrom(retry);
  }
  return out;
}

grpc::Status ToGrpcStatus(const Status& status, grpc::CallbackServerContext* context) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rpc = ToRpcStatus(status);
  const int64_t ms = MillisecondsOf(RetryOf(status, OutcomeOf(status)));
  if (context != nullptr && ms != 0) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", fmt::format("{}", ms));
    context->AddTrailingMetadata("retry-after", fmt::format("{}", (ms + 999) / 1000));
  }
  return grpc::Status(static_cast<grpc::StatusCode>(rpc.code()), rpc.message(),
                      rpc.SerializeAsString());
}

}  // namespace precis
