// Folding K and V heads into groups at load time, so that a decode step of WGQA is one of GQA:
//   W'[g] = sum over h in group(g) of w[h] * W[h]     (docs/design/attention_variants.md; mean
// pooling: Ainslie et al. 2023; learned weights: Chinnakonduru and Mohapatra 2024).
// Called by the weight loader, before any cast. Thread rule: functions, no state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/model_config.h"

namespace precis {

enum class FoldKind {
  kMean,    // w[h] = 1 / size of the group; no head weights
  kScalar,  // head_weights [H, 1]
  kColumn,  // head_weights [H, head_dim]: one a head and output dimension
  kRow,     // head_weights [H, d_model]: one a head and input dimension
};

// [H * head_dim] -> [groups * head_dim]: a bias goes the way of its heads, with their weights. Row
// weights are those of inputs and say nothing about a bias: the group's is the mean.
std::vector<float> FoldBias(std::span<const float> bias, uint32_t head_dim,
                            const HeadGrouping& grouping, FoldKind kind,
                            std::span<const float> head_weights);

// weight [H * head_dim, d_model] -> [groups * head_dim, d_model]. Sums in double.
std::vector<float> FoldHeads(std::span<const float> weight, uint32_t head_dim, uint32_t d_model,
                             const HeadGrouping& grouping, FoldKind kind,
                             std::span<const float> head_weights);

struct GroupedProjection {
  std::vector<float> weight;    // [groups * head_dim, d_model]
  std::vector<float> bias;      // [groups * head_dim]; empty where the family has none
  std::string what_was_folded;  // "8 heads into 2, learned weights wk1 [8, 1]"; empty: nothing
};

// `which` ('k' or 'v') of the decoder attention at `prefix`
// ("decoder.block.0.layer.0.SelfAttention.") with one head a group, folded if the checkpoint keeps
// all heads.
StatusOr<GroupedProjection> ReadGroupedProjection(Checkpoint& checkpoint, const ModelConfig& config,
                                                  const ResolvedAttention& attention,
                                                  const HeadGrouping& grouping,
                                                  std::string_view prefix, char which);

}  // namespace precis
