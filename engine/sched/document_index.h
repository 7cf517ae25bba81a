// What the documents of the cross-page cache say and whose they are: the map from (owner, exact
// token ids) to the scheduler's document. The key is compared in full; a hash alone would answer
// one client with another's document. The checkpoint is not part of it: an engine has one.
//
// Owner: the engine loop. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/sched/step_plan.h"
#include "engine/sched/waiting_queue.h"

namespace precis {

class DocumentIndex {
 public:
  std::optional<DocumentId> Find(TenantId owner, std::span<const int32_t> ids) const;
  // Requires that `id` is not in the index.
  void Add(DocumentId id, TenantId owner, std::vector<int32_t> ids);
  // Requires that it is.
  void Remove(DocumentId id);

  // Until Remove().
  std::span<const int32_t> ids(DocumentId id) const { return entries_[id].ids; }
  size_t size() const { return by_hash_.size(); }

 private:
  struct Entry {
    TenantId owner = 0;
    std::vector<int32_t> ids;
  };

  static size_t Hash(TenantId owner, std::span<const int32_t> ids);

  std::vector<Entry> entries_;  // by DocumentId
  std::unordered_multimap<size_t, DocumentId> by_hash_;
};

}  // namespace precis
