#include "engine/sched/tenant_ids.h"

#include <algorithm>
#include <vector>

namespace precis {

TenantId TenantIds::Of(const std::string& principal) {
  const auto [at, is_new] = known_.try_emplace(principal, Known{next_, 0});
  at->second.last_use = ++uses_;
  const TenantId id = at->second.id;
  if (is_new) ++next_;
  if (known_.size() > capacity_) ForgetOldest();
  return id;
}

void TenantIds::ForgetOldest() {
  std::vector<uint64_t> uses;
  uses.reserve(known_.size());
  for (const auto& [principal, known] : known_) uses.push_back(known.last_use);
  const auto middle = uses.begin() + static_cast<std::ptrdiff_t>(uses.size() / 2);
  std::nth_element(uses.begin(), middle, uses.end());
  std::erase_if(known_, [oldest_kept = *middle](const auto& entry) {
    return entry.second.last_use < oldest_kept;
  });
}

}  // namespace precis
