// Sequences of one request that belong together, as the windows of a document or the samples of a
// summary: submitted in order, a bounded number at a time, and read until all have ended.
//
// Owner: a summary call. Thread rule: one thread at a time (the text pool).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/engine.h"
#include "engine/request/sequence_reader.h"

namespace precis {

class SequenceRound {
 public:
  using MakeRequest = std::function<SequenceRequest(size_t index)>;
  using OnText = std::function<void(size_t index, const std::string& text)>;

  // `make` is called for each of `count` sequences in order, again if the engine refused; `options`
  // are those that its texts are read by and outlive the round.
  SequenceRound(const Tokenizer& tokenizer, const GenerationOptions& options, size_t count,
                size_t max_in_flight, MakeRequest make);

  // Submits what may be in flight. Kept back where the engine refuses, which is returned.
  Status Submit(Engine& engine);
  // Reads all; `on_text` receives what is new. The first failure of a sequence, if there is one.
  Status Read(const OnText& on_text);
  void Cancel();

  size_t submitted() const { return readers_.size(); }
  size_t ended() const { return ended_; }
  size_t in_flight() const { return submitted() - ended_; }
  bool Done() const { return ended_ == count_; }
  bool started() const;  // any of them
  // In their order; those that are not submitted yet are not among them.
  std::vector<SequenceReader>& readers() { return readers_; }

 private:
  const Tokenizer& tokenizer_;
  const GenerationOptions& options_;
  const size_t count_;
  const size_t max_in_flight_;
  const MakeRequest make_;
  std::vector<SequenceReader> readers_;
  size_t ended_ = 0;
};

}  // namespace precis
