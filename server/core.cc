#include "server/core.h"

#include <chrono>

#include "common/log.h"
#include "fmt/format.h"

namespace precis {
namespace {

double Milliseconds(Duration d) { return Seconds(d) * 1e3; }

}  // namespace

void RecordOutcome(ServerCore& core, const Ticket& ticket, const Status& status,
                   const Summary* summary, TimePoint end) {
  const OutcomeRow& outcome = OutcomeOf(status);
  const Duration total = end - ticket.start;
  core.metrics.CountRequest(ticket.method, outcome, Seconds(total));
  if (summary != nullptr) {
    core.inferences.Succeeded(total, summary->timings);
  } else if (SummarizesDocuments(ticket.method)) {
    core.inferences.Failed(total);
  }
  std::string line =
      fmt::format("request id={} method={} outcome={} total_ms={:.1f}", ticket.request_id,
                  MethodName(ticket.method), outcome.label, Milliseconds(total));
  if (!ticket.client.name.empty()) {
    line += fmt::format(" client=\"{}\"", JsonEscape(ticket.client.name));
  }
  if (summary != nullptr) {
    core.metrics.ObserveSummary(*summary);
    line += fmt::format(
        " source_tokens={} generated_tokens={} queue_ms={:.1f} first_token_ms={:.1f}",
        summary->source_tokens, summary->generated_tokens, Milliseconds(summary->timings.queue),
        Milliseconds(summary->timings.first_token));
    if (!summary->sequences.empty()) {
      line += fmt::format(" finish={}", FinishReasonLabel(summary->sequences[0].finish_reason));
    }
  } else if (!status.ok()) {
    line +=
        fmt::format(" message=\"{}\"",
                    JsonEscape(std::string_view(status.message().data(), status.message().size())));
  }
  line += fmt::format(" trace_id={} span_id={}", ticket.trace.trace_id, ticket.trace.span_id);
  if (!ticket.trace.parent_span_id.empty()) {
    line += fmt::format(" parent_span_id={}", ticket.trace.parent_span_id);
  }
  spdlog::info("{}", line);
}

}  // namespace precis
