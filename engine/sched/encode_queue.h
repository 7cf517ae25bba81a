// The documents being encoded: at most two, the oldest and a short one that may overtake it a
// bounded number of times. Knows what is left of each in predicted microseconds.
//
// Owner: the scheduler. Thread rule: the step thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/sched/encode_work.h"
#include "engine/sched/step_plan.h"

namespace precis {

class EncodeQueue {
 public:
  EncodeQueue(const EncodeShape& shape, const EncodeCosts& costs, uint32_t max_overtakes);

  bool empty() const { return documents_.empty(); }
  // Whether a document of so many tokens may be in progress now: there is a workspace, and it would
  // not only wait after the oldest.
  bool MayJoin(uint32_t tokens) const;
  void Join(DocumentId id, uint32_t tokens);
  void Remove(DocumentId id);
  bool Contains(DocumentId id) const;

  // Requires !empty(). As many items of the document whose turn it is as fit *left_us, which goes
  // down; at least one if `at_any_price`. With `last` the document has left the queue.
  EncodeSlice Plan(bool at_any_price, double* left_us);

 private:
  struct Document {
    DocumentId id;
    uint32_t tokens;
    uint32_t workspace;
    uint32_t next_item = 0;
    uint32_t num_items;
    double remaining_us;     // predicted, of the items not planned yet
    uint32_t overtaken = 0;  // documents encoded before this one while it was the oldest
  };

  static constexpr size_t kNumWorkspaces = 2;

  bool MayOvertake(double other_us) const {
    return other_us < documents_[0].remaining_us && documents_[0].overtaken < max_overtakes_;
  }

  const EncodeShape shape_;
  const EncodeCosts costs_;
  const uint32_t max_overtakes_;
  std::vector<Document> documents_;  // oldest first
};

}  // namespace precis
