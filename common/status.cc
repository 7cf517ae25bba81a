#include "common/status.h"

#include "absl/strings/cord.h"

namespace precis {
namespace {

constexpr char kFieldPayload[] = "precis/field";
constexpr char kReasonPayload[] = "precis/reason";

// Debian's absl::string_view is a type of its own.
absl::string_view View(std::string_view s) { return {s.data(), s.size()}; }

Status WithField(absl::StatusCode code, std::string_view field, std::string_view message) {
  std::string text(field);
  text.append(": ").append(message);
  Status status(code, text);
  status.SetPayload(kFieldPayload, absl::Cord(View(field)));
  return status;
}

void SetReason(Reason reason, Status* status) {
  const char byte = static_cast<char>(reason);
  status->SetPayload(kReasonPayload, absl::Cord(absl::string_view(&byte, 1)));
}

}  // namespace

Status InvalidArgument(std::string_view m) { return absl::InvalidArgumentError(View(m)); }
Status NotFound(std::string_view m) { return absl::NotFoundError(View(m)); }
Status FailedPrecondition(std::string_view m) { return absl::FailedPreconditionError(View(m)); }
Status Unimplemented(std::string_view m) { return absl::UnimplementedError(View(m)); }
Status Unavailable(std::string_view m) { return absl::UnavailableError(View(m)); }
Status Internal(std::string_view m) { return absl::InternalError(View(m)); }
Status DataLoss(std::string_view m) { return absl::DataLossError(View(m)); }

Status FieldError(std::string_view field, std::string_view message) {
  return WithField(absl::StatusCode::kInvalidArgument, field, message);
}

Status FieldTooLarge(std::string_view field, std::string_view message) {
  Status status = FieldError(field, message);
  SetReason(Reason::kTooLarge, &status);
  return status;
}

Status FieldUnimplemented(std::string_view field, std::string_view message) {
  return WithField(absl::StatusCode::kUnimplemented, field, message);
}

Status ReasonError(absl::StatusCode code, Reason reason, std::string_view message) {
  Status status(code, View(message));
  SetReason(reason, &status);
  return status;
}

std::optional<std::string> FieldOf(const Status& status) {
  const auto payload = status.GetPayload(kFieldPayload);
  if (!payload) return std::nullopt;
  return std::string(*payload);
}

std::optional<Reason> ReasonOf(const Status& status) {
  const auto payload = status.GetPayload(kReasonPayload);
  if (!payload) return std::nullopt;
  return static_cast<Reason>((*payload)[0]);
}

// Bytes and not cords, whose holders abseil counts.
Status CopyOf(const Status& from, absl::StatusCode code, std::string_view message) {
  Status out(code, View(message));
  from.ForEachPayload([&out](absl::string_view key, const absl::Cord& value) {
    out.SetPayload(key, absl::Cord(std::string(value)));
  });
  return out;
}

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string text(context);
  text.append(": ").append(std::string(status.message()));
  return CopyOf(status, status.code(), text);
}

}  // namespace precis
