// W3C Trace Context (the recommendation of 2021): a caller's `traceparent` and `tracestate`,
// checked strictly, and the span that this server adds. What is wrong is ignored, and a new trace
// begins.
//
// Called by CallEntry. Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace precis {

// Lower-case hexadecimal throughout, as it stands on the wire and in the log.
struct TraceContext {
  std::string trace_id;        // 32 digits
  std::string span_id;         // 16 digits; ours
  std::string parent_span_id;  // the caller's; empty: the trace begins here
  bool sampled = false;        // as the caller says
  std::string state;           // the caller's tracestate, unchanged; may be empty

  // The header that says it all to the next one.
  std::string Traceparent() const;
};

struct TraceParent {
  std::string trace_id;
  std::string span_id;
  bool sampled = false;
};

// Null when `header` is not a valid traceparent. Of versions after 00 the part that 00 has is
// taken.
std::optional<TraceParent> ParseTraceparent(std::string_view header);

// Whether `header` is a list of key=value members as the recommendation writes them: at most 32 of
// them and 512 characters, none twice.
bool IsTracestate(std::string_view header);

// Non-zero hexadecimal ids of random bits.
std::string TraceIdOf(uint64_t high, uint64_t low);
std::string SpanIdOf(uint64_t bits);

}  // namespace precis
