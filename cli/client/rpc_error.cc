#include "cli/client/rpc_error.h"

#include "cli/client/generation_flags.h"
#include "fmt/format.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace precis::cli {
namespace {

// gRPC's own names of its codes, by number.
constexpr const char* kCodeNames[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string NameOf(grpc::StatusCode code) {
  const int number = static_cast<int>(code);
  if (number < 0 || number >= static_cast<int>(std::size(kCodeNames))) {
    return fmt::format("CODE_{}", number);
  }
  return kCodeNames[number];
}

void ReadDetail(const google::protobuf::Any& detail, RpcError& error) {
  if (google::rpc::BadRequest bad; detail.UnpackTo(&bad)) {
    for (const auto& violation : bad.field_violations()) {
      error.fields.emplace_back(violation.field(), violation.description());
    }
  } else if (google::rpc::ErrorInfo info; detail.UnpackTo(&info)) {
    error.reason = info.reason();
  } else if (google::rpc::RetryInfo retry; detail.UnpackTo(&retry)) {
    error.retry_after_seconds = static_cast<double>(retry.retry_delay().seconds()) +
                                static_cast<double>(retry.retry_delay().nanos()) * 1e-9;
  }
}

}  // namespace

RpcError ReadRpcError(const grpc::Status& status) {
  RpcError error;
  error.code = NameOf(status.error_code());
  error.message = status.error_message();
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) ReadDetail(detail, error);
  }
  return error;
}

// No server of ours leaves out its reason.
bool NobodyAnswered(const RpcError& error) {
  return error.code == "UNAVAILABLE" && error.reason.empty();
}

std::string ToText(const RpcError& error, const std::string& server) {
  std::string text = fmt::format("precis: {}: {}\n", error.code, error.message);
  for (const auto& [field, description] : error.fields) {
    const std::string flag = FlagOfField(field);
    // One wrong field is mostly the whole message.
    const bool said = error.message.find(description) != std::string::npos;
    text += fmt::format("  field: {}{}{}\n", field, flag.empty() ? "" : " (" + flag + ")",
                        said ? "" : ": " + description);
  }
  if (!error.reason.empty() && error.reason != error.code) {
    text += fmt::format("  reason: {}\n", error.reason);
  }
  if (error.retry_after_seconds) {
    text += fmt::format("  try again after: {:.1f} s\n", *error.retry_after_seconds);
  }
  if (NobodyAnswered(error)) {
    text += fmt::format("  is a server running at {}? (precis-server --model DIR)\n", server);
  }
  return text;
}

nlohmann::json ToJson(const RpcError& error) {
  nlohmann::json out = {{"code", error.code}, {"message", error.message}};
  out["fields"] = nlohmann::json::array();
  for (const auto& [field, description] : error.fields) {
    out["fields"].push_back({{"field", field}, {"description", description}});
  }
  if (!error.reason.empty()) out["reason"] = error.reason;
  if (error.retry_after_seconds) out["retry_after_seconds"] = *error.retry_after_seconds;
  return {{"error", out}};
}

}  // namespace precis::cli
