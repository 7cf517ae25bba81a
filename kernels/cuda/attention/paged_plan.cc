// Which work items a step's paged attention has: once a step, for all its layers.
#include <algorithm>

#include "kernels/cuda/kernels.h"

namespace precis::cuda {

void PlanPagedAttention(std::span<const PagedRow> rows, PagedPlan* plan) {
  plan->items.clear();
  plan->first_chunk.assign(1, 0);
  plan->merges = false;
  const auto chunks = [](uint32_t keys) {
    return static_cast<uint32_t>((keys + kPagedChunkKeys - 1) / kPagedChunkKeys);
  };
  for (uint32_t first = 0; first < rows.size();) {
    uint32_t most = 0;
    uint32_t end = first;
    for (; end < rows.size() && rows[end].first_page == rows[first].first_page; ++end) {
      const uint32_t of_row = chunks(rows[end].num_keys);
      most = std::max(most, of_row);
      plan->merges |= of_row > 1;
      plan->first_chunk.push_back(plan->first_chunk.back() + of_row);
    }
    for (uint32_t chunk = 0; chunk < most; ++chunk) {
      plan->items.push_back({first, end - first, chunk});
    }
    first = end;
  }
}

}  // namespace precis::cuda
