// Text in, text out: a request is checked once, prefix added, tokenized, read whole or in windows,
// run by the engine, detokenized, cut at stop strings. Knows no wire.
//
// Owner: the server or a command. Thread rule: Start from any thread, it never blocks on model
// work; a listener is called from the summarizer's own text threads, one call at a time per
// request.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/engine.h"
#include "engine/request/valid_request.h"

namespace precis {

class Tokenizer;  // engine/text/tokenizer.h

struct SummarizerOptions {
  uint32_t text_threads = 1;           // tokenize and detokenize; bounded, apart from gRPC's
  uint64_t max_text_bytes = 2u << 20;  // checked before tokenizing; below gRPC's message limit
};

struct SummaryText {
  std::string text;
  std::vector<int32_t> token_ids;  // without start token and </s>
  FinishReason finish_reason = FinishReason::kEndOfSequence;
  double score = 0;  // of beams
};

struct Summary {
  std::vector<SummaryText> sequences;  // of beams the best first, samples in the order of index
  ResolvedOptions effective;
  LongDocumentPolicy long_document_policy = LongDocumentPolicy::kRefuse;
  Priority priority = Priority::kNormal;
  bool cache_hit = false;      // of the whole source, for an earlier request of the same principal
  uint32_t source_tokens = 0;  // read, </s> and prefix included, each once
  uint32_t source_tokens_dropped = 0;
  uint32_t windows = 1;           // that the source was read in; 1: whole
  uint32_t generated_tokens = 0;  // of all sequences and of all windows
  std::vector<std::string> warnings;
  SequenceTimings timings;
};

// All calls but OnFinished may be absent; exactly one OnFinished, last, whatever happens.
class SummaryListener {
 public:
  virtual ~SummaryListener() = default;
  // The request was accepted: it has its ids and its place in the queue.
  virtual void OnAccepted(uint32_t /*source_tokens*/) {}
  virtual void OnStarted() {}  // left the queue: its encoder work began
  // Of a source that is read in windows: how many of them are summarized; 0 of them at first.
  virtual void OnWindows(uint32_t /*done*/, uint32_t /*total*/) {}
  // A beam search, whose text is known at its end, has so many tokens now.
  virtual void OnSearched(uint32_t /*generated_tokens*/) {}
  // More text of sequence `index`: whole UTF-8; all deltas joined are the final text.
  virtual void OnDelta(uint32_t /*index*/, const std::string& /*text*/) {}
  virtual void OnFinished(StatusOr<Summary> summary) = 0;
};

// A request under way; dropping it cancels. OnFinished is still called (CANCELLED).
class SummaryCall {
 public:
  virtual ~SummaryCall() = default;
  virtual void Cancel() = 0;
};

class Summarizer {
 public:
  Summarizer(Engine& engine, std::unique_ptr<Tokenizer> tokenizer,
             const SummarizerOptions& options);
  ~Summarizer();  // cancels what is under way and waits for its OnFinished

  // Checks a request against this engine's limits and resolves its options; a seed that is needed
  // and absent is drawn. The errors name the field.
  StatusOr<ValidRequest> Validate(SummarizeRequest request);
  // RESOURCE_EXHAUSTED with Reason::kQueueFull when max_sequences are unfinished, with no call on
  // the listener. Tokenization and everything later is reported through the listener.
  StatusOr<std::unique_ptr<SummaryCall>> Start(ValidRequest request,
                                               std::shared_ptr<SummaryListener> listener);

  const ModelInfo& info() const { return engine_.info(); }
  Engine& engine() { return engine_; }

 private:
  class Impl;
  Engine& engine_;
  std::unique_ptr<Impl> impl_;
};

// Engine and Summarizer of one checkpoint directory.
struct LoadedSummarizer {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Summarizer> summarizer;
};
StatusOr<LoadedSummarizer> LoadSummarizer(const EngineOptions& engine_options,
                                          const SummarizerOptions& summarizer_options);

}  // namespace precis
