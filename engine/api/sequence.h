// One sequence as the engine is asked for it, and what it tells of it while it runs. Token ids
// only. Thread rule: values; a listener is called by the step thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/sched/priority.h"

namespace precis {

enum class FinishReason { kEndOfSequence, kLength, kStopString, kCancelled, kDeadline, kError };

// One result of a beam search.
struct Hypothesis {
  std::vector<int32_t> tokens;  // without start token and </s>
  double score = 0;             // sum of log-probabilities / length ^ length_penalty
  FinishReason reason = FinishReason::kEndOfSequence;
};

// As far as the sequence has come; zero for what has not happened yet.
struct SequenceTimings {
  Duration queue{};        // submit to first encoder work
  Duration first_token{};  // submit to first token
  Duration total{};        // submit to this event
};

struct TokenEvent {
  // kProgress: a beam search, which has no tokens to give before its end, has so many in `token`.
  enum class Kind { kStarted, kToken, kProgress, kFinished } kind = Kind::kToken;
  int32_t token = 0;                                   // kToken; </s> is not sent
  FinishReason reason = FinishReason::kEndOfSequence;  // kFinished
  Status status = {};                                  // kFinished with kError
  SequenceTimings timings = {};
  // The encoder had read the document, or was at it, for an earlier request of the same principal.
  bool cache_hit = false;
};

// Called by the step thread after it has put events into the request's queue: wake a thread, do not
// block. It may be called until the handle is gone.
class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void OnEvents() = 0;
};

struct SequenceRequest {
  std::vector<int32_t> source_ids;  // with </s>, and what begins a source; 1 .. max_source_tokens
  GenerationOptions options;
  std::optional<TimePoint> deadline;
  // Whose request it is: documents are cached and turns are taken by principal. A bounded set (of
  // authenticated clients; empty: the anonymous one), never text of a request.
  std::string principal;
  Priority priority = Priority::kNormal;
  std::shared_ptr<EventListener> listener;  // shared: the step thread may call it while we leave
  uint32_t sequence_index = 0;  // which of the request's samples: part of their random numbers
};

}  // namespace precis
