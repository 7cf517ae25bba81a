#include "server/security/call_context.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kMaxRequestIdBytes = 64;

constexpr char kTraceparentKey[] = "traceparent";
constexpr char kTracestateKey[] = "tracestate";

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// A key's values as one list, as HTTP joins them.
std::string JoinedValues(const Metadata& metadata, const char* key) {
  std::string out;
  const auto [begin, end] = metadata.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    if (!out.empty()) out += ',';
    out.append(it->second.data(), it->second.size());
  }
  return out;
}

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

void AddCallMetadata(const CallContext& call_context, const Status& status,
                     grpc::CallbackServerContext* context) {
  const auto add = [&](const char* key, const std::string& value) {
    if (status.ok()) {
      context->AddInitialMetadata(key, value);
    } else {
      context->AddTrailingMetadata(key, value);
    }
  };
  add(kRequestIdKey, call_context.request_id);
  add(kTraceparentKey, call_context.trace.Traceparent());
  if (!call_context.trace.state.empty()) add(kTracestateKey, call_context.trace.state);
}

Status StoppedError() {
  return ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped, "the server has ended");
}

CallEntry::CallEntry(const ServerOptions& options, const Authenticator& authenticator)
    : options_(options), authenticator_(authenticator) {
  std::random_device random;
  next_id_ = (static_cast<uint64_t>(random()) << 32) | random();
}

Status CallEntry::Authenticate(grpc::CallbackServerContext* context, Method method,
                               CallContext* call_context) {
  call_context->method = method;
  call_context->start = std::chrono::steady_clock::now();
  auto client = authenticator_.Identify(*context);
  if (client.ok()) call_context->client = *std::move(client);
  call_context->deadline = DeadlineOf(*context, call_context->start, call_context->client);
  const auto given = context->client_metadata().find(kRequestIdKey);
  if (given != context->client_metadata().end()) {
    call_context->request_id.assign(given->second.data(), given->second.size());
  }
  if (!IsSafeRequestId(call_context->request_id)) call_context->request_id = NewRequestId();
  call_context->trace = TraceOf(*context);
  if (!client.ok()) return client.status();
  if (closed()) {
    return ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining,
                       "the server is about to end and takes no new requests");
  }
  return OkStatus();
}

Status CallEntry::WhyCancelled(const grpc::CallbackServerContext& context) const {
  if (context.deadline() <= std::chrono::system_clock::now()) {
    return Status(absl::StatusCode::kDeadlineExceeded, "the deadline has passed");
  }
  if (stopped_.load(std::memory_order_acquire)) return StoppedError();
  return Status(absl::StatusCode::kCancelled, "the client cancelled the call");
}

CallContext CallEntry::ItemContext(const grpc::CallbackServerContext& context,
                                   const CallContext& stream, size_t index) {
  const TimePoint now = std::chrono::steady_clock::now();
  TraceContext trace = stream.trace;
  trace.parent_span_id = std::exchange(trace.span_id, SpanIdOf(Random()));
  return {.method = stream.method,
          .request_id = fmt::format("{}.{}", stream.request_id, index),
          .start = now,
          .deadline = DeadlineOf(context, now, stream.client),
          .client = stream.client,
          .trace = std::move(trace)};
}

uint64_t CallEntry::Random() { return Mix(next_id_.fetch_add(1)); }

std::string CallEntry::NewRequestId() { return fmt::format("{:016x}", Random()); }

TraceContext CallEntry::TraceOf(const grpc::CallbackServerContext& context) {
  TraceContext out;
  const Metadata& metadata = context.client_metadata();
  std::optional<TraceParent> parent;
  if (metadata.count(kTraceparentKey) == 1) {  // those of two callers say nothing
    const grpc::string_ref header = metadata.find(kTraceparentKey)->second;
    parent = ParseTraceparent({header.data(), header.size()});
  }
  out.span_id = SpanIdOf(Random());
  if (!parent) {
    const uint64_t high = Random();
    out.trace_id = TraceIdOf(high, Random());
    return out;
  }
  out.trace_id = std::move(parent->trace_id);
  out.parent_span_id = std::move(parent->span_id);
  out.sampled = parent->sampled;
  std::string state = JoinedValues(metadata, kTracestateKey);
  if (IsTracestate(state)) out.state = std::move(state);
  return out;
}

std::optional<TimePoint> CallEntry::DeadlineOf(const grpc::CallbackServerContext& context,
                                               TimePoint now, const Client& client) const {
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
