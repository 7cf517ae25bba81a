// Query heads assigned to KV heads by the norms of their keys (KDGQA and DGQA, Khan et al. 2024;
// docs/design/attention_variants.md). A few numbers a row: scalar, and the same on every ISA.
//
// Called by backends whose pages lie in memory. Thread rule: functions, no state.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/grouping_ops.h"

namespace precis {

void SumKeySquaresOfRows(const SumKeySquaresParams& params);

void AssignHeadsOfRows(const AssignHeadsParams& params);

// The split of one row. key_squares: [KV heads], the sums of squares of its keys. begin: [KV heads
// + 1].
void AssignHeadsByNorms(std::span<const float> key_squares, HeadShares shares,
                        std::span<const float> cached_norms, uint32_t num_heads,
                        std::span<uint32_t> begin);

}  // namespace precis
