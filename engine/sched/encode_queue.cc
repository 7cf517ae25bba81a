#include "engine/sched/encode_queue.h"

#include <algorithm>

#include "common/check.h"

namespace precis {

EncodeQueue::EncodeQueue(const EncodeShape& shape, const EncodeCosts& costs, uint32_t max_overtakes)
    : shape_(shape), costs_(costs), max_overtakes_(max_overtakes) {
  PRECIS_CHECK(NumEncodeItems(shape, 1) > 0);
  documents_.reserve(kNumWorkspaces);
}

bool EncodeQueue::MayJoin(uint32_t tokens) const {
  if (documents_.empty()) return true;
  if (documents_.size() == kNumWorkspaces) return false;
  return MayOvertake(PredictDocumentMicroseconds(shape_, costs_, tokens));
}

void EncodeQueue::Join(DocumentId id, uint32_t tokens) {
  PRECIS_CHECK(documents_.size() < kNumWorkspaces);
  documents_.push_back({.id = id,
                        .tokens = tokens,
                        .workspace = documents_.empty() ? 0 : 1 - documents_[0].workspace,
                        .num_items = NumEncodeItems(shape_, tokens),
                        .remaining_us = PredictDocumentMicroseconds(shape_, costs_, tokens)});
}

void EncodeQueue::Remove(DocumentId id) {
  std::erase_if(documents_, [id](const Document& document) { return document.id == id; });
}

bool EncodeQueue::Contains(DocumentId id) const {
  return std::any_of(documents_.begin(), documents_.end(),
                     [id](const Document& document) { return document.id == id; });
}

EncodeSlice EncodeQueue::Plan(bool at_any_price, double* left_us) {
  const bool overtake =
      documents_.size() == kNumWorkspaces && MayOvertake(documents_[1].remaining_us);
  Document& document = documents_[overtake ? 1 : 0];
  EncodeSlice slice{document.id, document.workspace, document.next_item, document.next_item, false};
  while (slice.end_item < document.num_items) {
    const EncodeItem item = EncodeItemAt(shape_, document.tokens, slice.end_item);
    const double item_us = PredictMicroseconds(costs_, item, document.tokens);
    const bool free = at_any_price && slice.end_item == slice.begin_item;
    if (!free && !(item_us <= *left_us)) break;
    *left_us -= item_us;
    document.remaining_us -= item_us;
    ++slice.end_item;
  }
  document.next_item = slice.end_item;
  slice.last = slice.end_item == document.num_items;
  if (slice.last) {
    if (overtake) ++documents_[0].overtaken;
    Remove(slice.document);
  }
  return slice;
}

}  // namespace precis
