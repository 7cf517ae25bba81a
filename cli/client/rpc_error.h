// A failed call in words: gRPC's code and message, and what the google.rpc details add. Owner: a
// command. Thread rule: values, no state.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grpcpp/support/status.h"
#include "nlohmann/json.hpp"

namespace precis::cli {

struct RpcError {
  std::string code{};                                         // "INVALID_ARGUMENT"
  std::string message{};                                      // the server's
  std::vector<std::pair<std::string, std::string>> fields{};  // field, what is wrong with it
  std::string reason{};                                       // "QUEUE_FULL"; empty: none given
  std::optional<double> retry_after_seconds{};
};

// Details that cannot be read are left out: the code and the message still stand.
RpcError ReadRpcError(const grpc::Status& status);

// Whether the call reached no server of ours.
bool NobodyAnswered(const RpcError& error);

// For people: one line, then an indented line for each detail, with the flag that sets the field.
std::string ToText(const RpcError& error, const std::string& server);
// For programs: {"error": {...}}.
nlohmann::json ToJson(const RpcError& error);

}  // namespace precis::cli
