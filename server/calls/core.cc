#include "server/calls/core.h"

#include <chrono>

#include "common/log.h"

namespace precis {
namespace {

double Milliseconds(Duration d) { return Seconds(d) * 1e3; }

}  // namespace

void RecordOutcome(ServerCore& core, const CallContext& call_context, const Status& status,
                   const Summary* summary, TimePoint end, spdlog::level::level_enum level) {
  const OutcomeRow& outcome = OutcomeOf(status);
  const Duration total = end - call_context.start;
  core.metrics.CountRequest(call_context.method, outcome, Seconds(total));
  if (summary != nullptr) {
    core.inferences.Succeeded(total, summary->timings);
    core.metrics.ObserveSummary(*summary);
  } else if (SummarizesDocuments(call_context.method)) {
    core.inferences.Failed(total);
  }
  if (!spdlog::should_log(level)) return;
  // docs/server.md lists them.
  LogFields fields;
  fields.Word("id", call_context.request_id)
      .Word("method", MethodName(call_context.method))
      .Word("outcome", outcome.label)
      .Milliseconds("total_ms", Milliseconds(total));
  if (!call_context.client.name.empty()) fields.Text("client", call_context.client.name);
  if (summary != nullptr) {
    fields.Count("source_tokens", summary->source_tokens)
        .Count("generated_tokens", summary->generated_tokens)
        .Milliseconds("queue_ms", Milliseconds(summary->timings.queue))
        .Milliseconds("first_token_ms", Milliseconds(summary->timings.first_token));
    if (!summary->sequences.empty()) {
      fields.Word("finish", FinishReasonLabel(summary->sequences[0].finish_reason));
    }
  } else if (!status.ok()) {
    fields.Text("error", {status.message().data(), status.message().size()});
  }
  fields.Word("trace_id", call_context.trace.trace_id).Word("span_id", call_context.trace.span_id);
  if (!call_context.trace.parent_span_id.empty()) {
    fields.Word("parent_span_id", call_context.trace.parent_span_id);
  }
  LogEvent(level, "request", fields);
}

}  // namespace precis
