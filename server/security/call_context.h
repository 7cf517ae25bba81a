// What every RPC but health does first: it is authenticated, and gets its id, its deadline and its
// place in the trace. A server that drains refuses it here.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "grpcpp/server_context.h"
#include "server/config/client.h"
#include "server/config/options.h"
#include "server/observe/metrics.h"
#include "server/observe/trace_context.h"
#include "server/security/authenticator.h"

namespace precis {

// What is known of a call before its content is read.
struct CallContext {
  Method method = Method::kSummarize;
  std::string request_id;
  TimePoint start;
  std::optional<TimePoint> deadline;
  Client client;  // empty when the call was refused before that was known
  TraceContext trace;
};

class CallEntry {
 public:
  CallEntry(const ServerOptions& options, const Authenticator& authenticator);

  // Who calls, or why the call is refused. Fills the context in either case: a refusal is logged
  // and counted as well.
  Status Authenticate(grpc::CallbackServerContext* context, Method method,
                      CallContext* call_context);

  // The context of document number `index` of a bulk stream: what the stream's deadline leaves it,
  // and a span of its own below the stream's.
  CallContext ItemContext(const grpc::CallbackServerContext& context, const CallContext& stream,
                          size_t index);

  // From now on every call is refused with Reason::kDraining.
  void Close() { closed_.store(true, std::memory_order_release); }
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  // The server ends what is left: it, and not a client, cancels from now on.
  void Stop() { stopped_.store(true, std::memory_order_release); }

  // The status of a call that gRPC calls cancelled: by its deadline, by our end, or by its client.
  Status WhyCancelled(const grpc::CallbackServerContext& context) const;

 private:
  std::string NewRequestId();
  uint64_t Random();
  TraceContext TraceOf(const grpc::CallbackServerContext& context);
  std::optional<TimePoint> DeadlineOf(const grpc::CallbackServerContext& context, TimePoint now,
                                      const Client& client) const;

  const ServerOptions& options_;
  const Authenticator& authenticator_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<uint64_t> next_id_;
};

// 1 to 64 letters, digits, '.', '_' and '-': what may stand in a log line.
bool IsSafeRequestId(const std::string& id);

// The status of what is left when the server ends: Reason::kStopped.
Status StoppedError();

// Puts `x-request-id`, `traceparent` and `tracestate` where the client finds them: the initial
// metadata, or for a call that fails before it was accepted the trailing one. Such a call then is a
// reply of trailers only, and no other is tried again by gRPC's clients and by proxies.
// Once a call, before its metadata goes out.
void AddCallMetadata(const CallContext& call_context, const Status& status,
                     grpc::CallbackServerContext* context);

}  // namespace precis
