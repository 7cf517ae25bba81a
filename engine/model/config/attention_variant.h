// Which grouping variant a checkpoint is, and which heads share a KV head in every decoder layer
// (docs/design/attention_variants.md). Called by the weight loader; values, no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace precis {

std::string_view AttentionVariantName(AttentionVariant variant);  // "wgqa"

// How many query heads a KV head serves depends on the sequence.
bool AssignsHeads(AttentionVariant variant);
bool HasCachedNorm(AttentionVariant variant);
// k.weight and v.weight may be those of the KV heads already.
bool MayBeStoredGrouped(AttentionVariant variant);

struct ResolvedAttention {
  AttentionVariant variant = AttentionVariant::kMha;
  uint32_t num_kv_heads = 0;  // of every decoder layer; qcqa: the largest
};

// What config.json says, checked against the tensors; where it says nothing, what the shapes of
// wk1 and k.weight say. An error asks for the key where they do not decide.
StatusOr<ResolvedAttention> ResolveAttention(const ModelConfig& config,
                                             const Checkpoint& checkpoint);

// Neighbouring heads, sizes as equal as possible: GQA's grouping, where `groups` divides the heads.
HeadGrouping NeighbouringHeads(uint32_t num_heads, uint32_t groups);

// Groups of every decoder layer. MHA: one head a group.
LayerGroupings Groupings(const ModelConfig& config, const ResolvedAttention& attention);

}  // namespace precis
