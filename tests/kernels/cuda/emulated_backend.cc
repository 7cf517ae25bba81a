#include "tests/kernels/cuda/emulated_backend.h"

#include <algorithm>
#include <cmath>

namespace precis {
namespace {

// Of an item and KV head, the most.
uint32_t MostQueries(const PagedAttentionParams& p, const cuda::PagedPlan& plan) {
  uint32_t most = 0;
  for (const cuda::PagedItem& item : plan.items) {
    for (uint32_t g = 0; g < p.region.num_kv_heads; ++g) {
      uint32_t queries = 0;
      for (uint32_t row = item.first_row; row < item.first_row + item.num_rows; ++row) {
        const HeadGroups groups = GroupsOf(p, row);
        queries += groups.begin[g + 1] - groups.begin[g];
      }
      most = std::max(most, queries);
    }
  }
  return most;
}

}  // namespace

void EmulatedBackend::PagedAttention(const PagedAttentionParams& p) {
  if (p.append != nullptr) AppendKv(*p.append);  // a launch of its own: the stream orders them
  cuda::PlanPagedAttention(p.rows, &plan_);
  const size_t width = p.groups.heads.size() * cuda::PartialFloats(p.region.head_dim);
  partials_.assign(plan_.first_chunk.back() * width, NAN);
  cuda::PagedAttention(p,
                       {.items = plan_.items.data(),
                        .num_items = plan_.items.size(),
                        .first_chunk = plan_.first_chunk.data(),
                        .partials = partials_.data(),
                        .merges = plan_.merges,
                        .most_queries = most_queries_ > 0 ? most_queries_ : MostQueries(p, plan_)},
                       nullptr);
}

void EmulatedBackend::SummarizeScores(const SummarizeScoresParams& p) {
  size_t most = 0;
  for (const ScoreSummary& row : p.rows) most = std::max(most, row.best.size());
  cuda::SummarizeScores(p, most, nullptr);
}

}  // namespace precis
