// Prompt lookup (Saxena 2023): what the last tokens of a summary were followed by where they occur
// in its document, or earlier in the summary itself. The longest match counts; among equals the
// place from which was copied last, then the summary's own latest, then the document's first.
//
// Owner: PromptLookups, one a sequence. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/drafting/draft_source.h"

namespace precis {

class PromptLookup {
 public:
  // A match that is longer counts as if it were this long.
  static constexpr uint32_t kMaxMatch = 8;

  // Indexes `source`, whose last token (</s>) is never proposed. Makes room for all of the summary,
  // so that later calls allocate nothing. `own_output`: earlier parts of it may be proposed again.
  void Start(std::span<const int32_t> source, uint32_t max_new_tokens, bool own_output);
  void Push(int32_t token);
  Draft Propose(std::span<int32_t> out);

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t source_size() const { return static_cast<uint32_t>(source_.size()); }
  uint32_t size() const { return source_size() + static_cast<uint32_t>(output_.size()); }
  int32_t at(uint32_t position) const {
    return position < source_.size() ? source_[position] : output_[position - source_.size()];
  }
  uint32_t Bucket(int32_t token) const;
  void Insert(uint32_t position);
  uint32_t MatchLength(uint32_t position) const;

  // Positions: those of the source, then those of the output.
  std::span<const int32_t> source_;
  std::vector<int32_t> output_;
  bool own_output_ = false;
  std::vector<uint32_t> heads_;   // by Bucket(): where its chain of positions begins, or kNone
  std::vector<uint32_t> next_;    // by position: the next one of its chain, or kNone
  uint32_t next_copied_ = kNone;  // after the place from which was copied last
};

// Of all sequences.
class PromptLookups final : public DraftSource {
 public:
  explicit PromptLookups(uint32_t max_sequences) : lookups_(max_sequences) {}
  void Join(SequenceId id, std::span<const int32_t> source_ids,
            const GenerationOptions& options) override {
    // Where n-grams may not be repeated, what followed in the summary before cannot follow again.
    lookups_[id].Start(source_ids, options.max_new_tokens, options.no_repeat_ngram_size == 0);
  }
  void Push(SequenceId id, int32_t token) override { lookups_[id].Push(token); }
  Draft Propose(SequenceId id, std::span<int32_t> out) override {
    return lookups_[id].Propose(out);
  }

 private:
  std::vector<PromptLookup> lookups_;  // by SequenceId
};

}  // namespace precis
