// A request of a user, and what becomes of it when it is checked: options resolved, sizes within
// the limits, its cost known. Knows no wire.
//
// Made by the server's front ends and by who uses the summarizer directly. Thread rule: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/api/too_long.h"
#include "engine/sched/priority.h"

namespace precis {

// What becomes of a source of more than EngineOptions::max_source_tokens.
enum class LongDocumentPolicy {
  kRefuse,    // INVALID_ARGUMENT with both numbers
  kTruncate,  // its first tokens are read
  kWindows,   // overlapping windows are summarized one by one, then their summaries
};

// Nothing, which is refused; text; or ids as they are (no prefix).
using Source = std::variant<std::monostate, std::string, std::vector<int32_t>>;

// As it was asked for.
struct SummarizeRequest {
  Source source;
  GenerationOverrides options;
  LongDocumentPolicy long_document_policy = LongDocumentPolicy::kRefuse;
  Priority priority = Priority::kNormal;
  std::string principal;  // as in SequenceRequest
  std::optional<TimePoint> deadline;
};

// What requests are checked against: the limits of one engine and its summarizer.
struct RequestLimits {
  GenerationLimits generation;
  SourceLimit source;  // of ids; how many a text has is known once it is tokenized
  uint64_t max_text_bytes = 0;
};

// A request that was checked. Only Validate() makes one, so what takes one need not check again.
class ValidRequest {
 public:
  // Resolves the options, once a request. `defaults` are the checkpoint's; `seed_if_absent` is for
  // sampling without a seed. The errors are those of ResolveOptions(), and FieldError or
  // FieldTooLarge about "source", "text" or "token_ids".
  static StatusOr<ValidRequest> Validate(SummarizeRequest request,
                                         const GenerationDefaults& defaults,
                                         const RequestLimits& limits, uint64_t seed_if_absent);

  const ResolvedOptions& options() const { return options_; }
  LongDocumentPolicy long_document_policy() const { return request_.long_document_policy; }
  Priority priority() const { return request_.priority; }
  const std::string& principal() const { return request_.principal; }
  const std::optional<TimePoint>& deadline() const { return request_.deadline; }
  // Most tokens that it may generate, of all its beams or samples.
  uint64_t new_tokens() const { return new_tokens_; }
  // What a queue counts: source tokens and new tokens. Source tokens are exact for ids and about
  // right for text, which is not tokenized yet.
  uint64_t cost_tokens() const { return cost_tokens_; }

  // Every deadline is valid; often it is known after the rest.
  void SetDeadline(std::optional<TimePoint> deadline) { request_.deadline = deadline; }
  // Once: text or ids, never nothing.
  Source TakeSource() { return std::move(request_.source); }

 private:
  ValidRequest() = default;

  SummarizeRequest request_;  // its overrides are used up
  ResolvedOptions options_;
  uint64_t new_tokens_ = 0;
  uint64_t cost_tokens_ = 0;
};

}  // namespace precis
