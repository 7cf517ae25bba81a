// Errors are absl::Status everywhere; its codes are gRPC's. Two payloads say more than a code: the
// request field that is wrong, and the reason a client can act on. Thread rule: values, no state.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace precis {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

// What a client can act on; server/observe/errors.cc maps each to the words on the wire.
enum class Reason { kQueueFull, kPoolFull, kQuota, kTooLarge, kDraining, kStopped, kDeviceFailed };

Status InvalidArgument(std::string_view message);
Status NotFound(std::string_view message);
Status FailedPrecondition(std::string_view message);
Status Unimplemented(std::string_view message);
Status Unavailable(std::string_view message);
Status Internal(std::string_view message);
Status DataLoss(std::string_view message);

// INVALID_ARGUMENT about one field of a request, named as in the proto ("options.top_p").
Status FieldError(std::string_view field, std::string_view message);
// The same with Reason::kTooLarge.
Status FieldTooLarge(std::string_view field, std::string_view message);
// UNIMPLEMENTED about one field of a request.
Status FieldUnimplemented(std::string_view field, std::string_view message);
Status ReasonError(absl::StatusCode code, Reason reason, std::string_view message);

std::optional<std::string> FieldOf(const Status& status);
std::optional<Reason> ReasonOf(const Status& status);

// A status of its own, which no other thread holds, with the payloads of `from`.
Status CopyOf(const Status& from, absl::StatusCode code, std::string_view message);
// The same status with "context: " before its message; payloads stay.
Status Annotate(const Status& status, std::string_view context);

}  // namespace precis

#define PRECIS_CONCAT_INNER_(a, b) a##b
#define PRECIS_CONCAT_(a, b) PRECIS_CONCAT_INNER_(a, b)

#define PRECIS_RETURN_IF_ERROR(expr)                                                         \
  do {                                                                                       \
    if (::absl::Status precis_status_ = (expr); !precis_status_.ok()) return precis_status_; \
  } while (false)

#define PRECIS_ASSIGN_OR_RETURN(lhs, expr) \
  PRECIS_ASSIGN_OR_RETURN_IMPL_(PRECIS_CONCAT_(precis_statusor_, __LINE__), lhs, expr)
#define PRECIS_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) return tmp.status();                 \
  lhs = std::move(tmp).value()
