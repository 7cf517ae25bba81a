// What one step does, in ids. Made by the scheduler, read by the runner; valid until the next
// Schedule().
#pragma once

#include <cstdint>
#include <vector>

namespace precis {

// Dense: 0 .. max_sequences-1. Reused after the sequence has left.
using SequenceId = uint32_t;
using PageId = int32_t;

// Work on one document: items [begin, end) of its EncodeWork list, rows in workspace `workspace`.
struct EncodeSlice {
  SequenceId sequence;
  uint32_t workspace;  // 0 or 1
  uint32_t begin_item;
  uint32_t end_item;
  bool last;  // the document is encoded when this slice is done
};

// One token of one sequence: position `position` is fed, its K and V go to (page, slot), and the
// token after it is sampled.
struct DecodeRow {
  SequenceId sequence;
  uint32_t position;
  PageId page;  // of the self kind
  uint32_t slot;
};

struct StepPlan {
  std::vector<EncodeSlice> encodes;
  std::vector<DecodeRow> decodes;
  bool empty() const { return encodes.empty() && decodes.empty(); }
};

}  // namespace precis
