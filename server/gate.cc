#include "server/gate.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kMaxRequestIdBytes = 64;

// splitmix64's finalizer: ids look unlike each other, and never repeat within 2^64 calls.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

bool IsSafeRequestId(const std::string& id) {
  if (id.empty() || id.size() > kMaxRequestIdBytes) return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Status WhyCancelled(const grpc::CallbackServerContext& context) {
  if (context.deadline() <= std::chrono::system_clock::now()) {
    return Status(absl::StatusCode::kDeadlineExceeded, "the deadline has passed");
  }
  return Status(absl::StatusCode::kCancelled, "the client cancelled the call");
}

Gate::Gate(const ServerOptions& options, const Authenticator& authenticator)
    : options_(options), authenticator_(authenticator) {
  std::random_device random;
  next_id_ = (static_cast<uint64_t>(random()) << 32) | random();
}

Status Gate::Enter(grpc::CallbackServerContext* context, Method method, Ticket* ticket) {
  ticket->method = method;
  ticket->start = std::chrono::steady_clock::now();
  auto client = authenticator_.Identify(*context);
  if (client.ok()) ticket->client = *std::move(client);
  ticket->deadline = DeadlineOf(*context, ticket->start, ticket->client);
  const auto given = context->client_metadata().find(kRequestIdKey);
  if (given != context->client_metadata().end()) {
    ticket->request_id.assign(given->second.data(), given->second.size());
  }
  if (!IsSafeRequestId(ticket->request_id)) ticket->request_id = NewRequestId();
  context->AddInitialMetadata(kRequestIdKey, ticket->request_id);
  if (!client.ok()) return client.status();
  if (closed()) {
    return ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining,
                       "the server is about to end and takes no new requests");
  }
  return OkStatus();
}

Ticket Gate::ItemTicket(const grpc::CallbackServerContext& context, const Ticket& stream,
                        size_t index) const {
  const TimePoint now = std::chrono::steady_clock::now();
  return {.method = stream.method,
          .request_id = fmt::format("{}.{}", stream.request_id, index),
          .start = now,
          .deadline = DeadlineOf(context, now, stream.client),
          .client = stream.client};
}

std::string Gate::NewRequestId() { return fmt::format("{:016x}", Mix(next_id_.fetch_add(1))); }

std::optional<TimePoint> Gate::DeadlineOf(const grpc::CallbackServerContext& context, TimePoint now,
                                          const Client& client) const {
  std::optional<Duration> timeout;
  const auto wall = context.deadline();
  if (wall != std::chrono::system_clock::time_point::max()) {
    timeout = std::chrono::duration_cast<Duration>(wall - std::chrono::system_clock::now());
  } else if (options_.default_timeout.count() != 0) {
    timeout = options_.default_timeout;
  }
  for (const Duration longest : {options_.max_timeout, client.limits.max_timeout}) {
    if (longest.count() != 0) timeout = std::min(timeout.value_or(longest), longest);
  }
  if (!timeout) return std::nullopt;
  return now + *timeout;
}

}  // namespace precis
