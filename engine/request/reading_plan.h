// What of a source is read and in what pieces: whole, its beginning, or overlapping windows. A
// passage is ids ready for the engine: the tokenizer's ids before a source, the request's prefix, a
// part of the source, the tokenizer's </s>.
//
// Called by a summary call, in the text pool. Thread rule: const; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/request/summarizer.h"
#include "engine/text/sentence_ends.h"
#include "engine/text/tokenizer.h"
#include "engine/text/windows.h"

namespace precis {

struct ReadingPlan {
  std::vector<std::vector<int32_t>> passages;  // one, unless the source is read in windows
  uint32_t source_tokens = 0;                  // read; what windows share is counted once
  uint32_t source_tokens_dropped = 0;
  std::vector<std::string> warnings;
};

// Which of the tokenizer's own ids a source has: a text gets both, ids may have been sent without.
struct SourceFrame {
  bool begins = true;  // with source_prefix(), where that is not empty
  bool ends = true;    // with end_id()
};

class ReadingPlanner {
 public:
  static constexpr size_t kMaxWindows = 64;

  struct Limits {
    uint32_t max_source_tokens = 0;
    uint32_t trained_tokens = 0;  // the model's n_positions; 0: it does not say
    uint32_t positions = 0;       // more the model cannot take; 0: any number
  };

  ReadingPlanner(const Tokenizer& tokenizer, const Limits& limits)
      : tokenizer_(tokenizer), limits_(limits) {}

  // The errors name the field: a text that is not UTF-8, blank, too long. A prefix is no text.
  StatusOr<ReadingPlan> PlanText(std::string_view text, const std::string& prefix,
                                 LongDocumentPolicy policy) const;
  // Ids as they are: windows are cut at fixed positions, and each begins and ends as the source
  // does.
  StatusOr<ReadingPlan> PlanIds(std::vector<int32_t> ids, LongDocumentPolicy policy) const;
  // Of ids that a client sent.
  SourceFrame FrameOf(std::span<const int32_t> ids) const;
  // For the joined summaries of windows, with the frame of their source. They are never refused:
  // what cannot be read, because `may_split` is false or there are too many windows, is left out
  // with a warning.
  StatusOr<ReadingPlan> PlanMerge(std::string_view joined, const std::string& prefix,
                                  SourceFrame frame, bool may_split) const;

 private:
  struct Parts {
    std::vector<int32_t> before_all;  // begins every window
    std::span<const int32_t> body;
    std::vector<Boundary> before;  // of the body
    bool ends = true;              // with </s>
  };

  StatusOr<std::vector<int32_t>> EncodeText(std::string_view text) const;
  // The ids before a source in this frame.
  std::vector<int32_t> Beginning(SourceFrame frame) const;
  // A text with its prefix, whole.
  StatusOr<std::vector<int32_t>> EncodeSource(std::string_view text, const std::string& prefix,
                                              SourceFrame frame) const;
  ReadingPlan Whole(std::vector<int32_t> ids) const;
  ReadingPlan Truncated(std::string_view what, std::vector<int32_t> ids, bool ends) const;
  StatusOr<std::vector<WindowRange>> Split(const char* field, const Parts& parts) const;
  StatusOr<ReadingPlan> Windows(const char* field, const Parts& parts) const;
  StatusOr<ReadingPlan> TextWindows(std::string_view text, const std::string& prefix,
                                    SourceFrame frame) const;
  Status CheckText(std::string_view text) const;
  Status CheckPrefix(const std::string& prefix) const;
  void WarnOfLength(std::string_view what, size_t tokens, ReadingPlan* plan) const;

  const Tokenizer& tokenizer_;
  const Limits limits_;
};

}  // namespace precis
