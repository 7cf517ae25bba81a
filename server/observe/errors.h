// One table: what went wrong -> gRPC status, its google.rpc details, and the label of the metrics.
// No message holds text of a document.
//
// Called wherever an RPC ends. Thread rule: functions without state.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace grpc {
class CallbackServerContext;
}

namespace precis {

inline constexpr char kErrorDomain[] = "precis";

// One kind of outcome. The label is what `precis_requests_total{outcome=...}` says.
struct OutcomeRow {
  absl::StatusCode code;  // what the status has; with a reason, the reason decides
  std::optional<Reason> reason;
  const char* label;
  const char* wire_reason;  // ErrorInfo.reason
  Duration retry;           // 0: trying again does not help
};

// All of them, "ok" first: docs/server.md has the same table, and a test compares them.
std::span<const OutcomeRow> OutcomeTable();
const OutcomeRow& OutcomeOf(const Status& status);

// The same error, which says when trying again can help, instead of its row's word.
Status WithRetryAfter(const Status& status, Duration retry);

// NOT_FOUND about a field.
Status FieldNotFound(std::string_view field, std::string_view message);

// Code, message and details as a message: for the item of a bulk stream.
google::rpc::Status ToRpcStatus(const Status& status);
// The same as the end of an RPC; `context` gets the trailing metadata that says when to try again.
grpc::Status ToGrpcStatus(const Status& status, grpc::CallbackServerContext* context);

}  // namespace precis
