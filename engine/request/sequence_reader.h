// One submitted sequence on its way to text: turns its token events into whole UTF-8, cut at stop
// strings. Of beams the texts are known at the end.
//
// Owner: a round of sequences. Thread rule: one thread at a time (the text pool).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/request/summarizer.h"
#include "engine/text/stop_strings.h"
#include "engine/text/tokenizer.h"

namespace precis {

class SequenceReader {
 public:
  // `tokenizer` and `options` outlive the reader.
  SequenceReader(const Tokenizer& tokenizer, const GenerationOptions& options,
                 SequenceHandle handle);

  // Reads the events that have come and returns the text they add; all of it joined is the text.
  std::string Read();
  void Cancel() { handle_.Cancel(); }

  // Of a beam search under way; about right, since the engine reports it every few steps.
  uint32_t searched_tokens() const { return searched_tokens_; }
  bool cache_hit() const { return cache_hit_; }
  bool started() const { return started_; }  // its encoder work began
  bool ended() const { return ended_; }      // and the engine has let go of it
  // Once ended: CANCELLED, DEADLINE_EXCEEDED or what failed; else its texts are there.
  const Status& status() const { return status_; }
  const SequenceTimings& timings() const { return timings_; }
  // One, or num_return_sequences of a beam search, best first. Once.
  std::vector<SummaryText> TakeTexts();

 private:
  std::string OnToken(int32_t token);
  std::string OnFinished(const TokenEvent& event);

  const Tokenizer& tokenizer_;
  const GenerationOptions& options_;
  SequenceHandle handle_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  SummaryText text_;
  SequenceTimings timings_;
  Status status_;
  uint32_t searched_tokens_ = 0;
  bool cache_hit_ = false;
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace precis
