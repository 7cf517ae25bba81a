// What one step does, in ids. Made by the scheduler, read by the runner; valid until the next
// Schedule().
#pragma once

#include <cstdint>
#include <vector>

namespace precis {

// Dense: 0 .. max_sequences-1. Reused after the sequence has left.
using SequenceId = uint32_t;
// The source of one or more sequences; dense, reused.
using DocumentId = uint32_t;
using PageId = int32_t;

// Work on one document: items [begin, end) of its EncodeWork list, rows in workspace `workspace`.
struct EncodeSlice {
  DocumentId document;
  uint32_t workspace;  // 0 or 1
  uint32_t begin_item;
  uint32_t end_item;
  bool last;  // the document is encoded when this slice is done
};

// The first `slots` slots of page `from`, of the self kind, are copied to page `to`.
struct PageCopy {
  PageId from;
  PageId to;
  uint32_t slots;  // at least 1
};

// One token of one beam of a sequence: position `position` is fed, its K and V go to (page, slot),
// and the token after it is chosen. The rows of a sequence are neighbours, in the order of beams.
// A sequence without beams may have several: the token that stands, then drafted ones, each at the
// position after the one before.
struct DecodeRow {
  SequenceId sequence;
  uint32_t beam;   // 0 where no beams were asked for
  uint32_t draft;  // 0: the token stands; j: it is the j-th draft after it
  uint32_t position;
  PageId page;  // of the self kind
  uint32_t slot;
};

struct StepPlan {
  std::vector<EncodeSlice> encodes;
  // Done before any decode row. No copy's target is a source or a target of another one, so their
  // order is free.
  std::vector<PageCopy> copies;
  std::vector<DecodeRow> decodes;
  bool empty() const { return encodes.empty() && decodes.empty(); }
};

}  // namespace precis
