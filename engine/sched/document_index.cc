#include "engine/sched/document_index.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace precis {

size_t DocumentIndex::Hash(TenantId owner, std::span<const int32_t> ids) {
  const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size_bytes());
  return std::hash<std::string_view>()(bytes) ^ owner;
}

std::optional<DocumentId> DocumentIndex::Find(TenantId owner, std::span<const int32_t> ids) const {
  const auto [begin, end] = by_hash_.equal_range(Hash(owner, ids));
  for (auto at = begin; at != end; ++at) {
    const Entry& entry = entries_[at->second];
    if (entry.owner == owner &&
        std::equal(ids.begin(), ids.end(), entry.ids.begin(), entry.ids.end())) {
      return at->second;
    }
  }
  return std::nullopt;
}

void DocumentIndex::Add(DocumentId id, TenantId owner, std::vector<int32_t> ids) {
  if (id >= entries_.size()) entries_.resize(id + 1);
  PRECIS_CHECK(entries_[id].ids.empty() && !ids.empty());
  by_hash_.emplace(Hash(owner, ids), id);
  entries_[id] = {owner, std::move(ids)};
}

void DocumentIndex::Remove(DocumentId id) {
  PRECIS_CHECK(id < entries_.size());
  Entry& entry = entries_[id];
  const auto [begin, end] = by_hash_.equal_range(Hash(entry.owner, entry.ids));
  const auto at = std::find_if(begin, end, [id](const auto& pair) { return pair.second == id; });
  PRECIS_CHECK(at != end);
  by_hash_.erase(at);
  entry = {};
}

}  // namespace precis
