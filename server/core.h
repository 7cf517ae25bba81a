// What every call needs of the server, in one place to pass around.
//
// Owner: the server; outlives every call. Thread rule: the members say theirs.
#pragma once

#include "engine/summarizer.h"
#include "server/admission.h"
#include "server/authenticator.h"
#include "server/gate.h"
#include "server/inference_counters.h"
#include "server/live_calls.h"
#include "server/metrics.h"
#include "server/options.h"

namespace precis {

struct ServerCore {
  const ServerOptions& options;
  Summarizer& summarizer;
  ServerMetrics& metrics;
  Authenticator authenticator;
  Gate gate;
  Admission admission;
  LiveCalls live;
  InferenceCounters inferences;

  ServerCore(const ServerOptions& o, Summarizer& s, ServerMetrics& m)
      : options(o),
        summarizer(s),
        metrics(m),
        authenticator(o),
        gate(o, authenticator),
        admission({.max_requests = o.max_queue, .max_tokens = o.max_queue_tokens}) {}
};

// The one outcome of a call, or of an item of a bulk stream: a line in the log, a count in the
// metrics. `summary` is null unless the outcome is one.
void RecordOutcome(ServerCore& core, const Ticket& ticket, const Status& status,
                   const Summary* summary);

}  // namespace precis
