// What every call needs of the server, in one place to pass around.
//
// Owner: the server; outlives every call. Thread rule: the members say theirs.
#pragma once

#include <chrono>

#include "common/clock.h"
#include "common/log.h"
#include "engine/request/summarizer.h"
#include "server/admission/admission.h"
#include "server/admission/unread.h"
#include "server/calls/live_calls.h"
#include "server/config/options.h"
#include "server/observe/inference_counters.h"
#include "server/observe/metrics.h"
#include "server/security/authenticator.h"
#include "server/security/call_context.h"

namespace precis {

struct ServerCore {
  const ServerOptions& options;
  Summarizer& summarizer;
  ServerMetrics& metrics;
  Authenticator authenticator;
  CallEntry entry;
  Admission admission;
  UnreadReplies unread;
  LiveCalls live;
  InferenceCounters inferences;

  ServerCore(const ServerOptions& o, Summarizer& s, ServerMetrics& m)
      : options(o),
        summarizer(s),
        metrics(m),
        authenticator(o),
        entry(o, authenticator),
        admission({.max_requests = o.max_queue, .max_tokens = o.max_queue_tokens}),
        unread({.max_bytes = o.max_unread_bytes, .timeout = o.unread_timeout}, entry, m) {}
};

// The one outcome of a call, or of an item of a bulk stream, known at `end`: a line in the log, a
// count in the metrics. `summary` is null unless the outcome is one; its texts are not looked at.
void RecordOutcome(ServerCore& core, const CallContext& call_context, const Status& status,
                   const Summary* summary, TimePoint end = std::chrono::steady_clock::now(),
                   spdlog::level::level_enum level = spdlog::level::info);

}  // namespace precis
