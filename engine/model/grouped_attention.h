// Attention over pages as the model's variant has it: as it stands, or with the query heads
// assigned by the norms of keys (KDGQA, DGQA), or with noise subtracted from it (PGQA). Formulas:
// docs/design/attention_variants.md.
//
// Owner: the decoder. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/families/architecture.h"
#include "engine/model/weights.h"
#include "kernels/device_allocator.h"
#include "kernels/grouping_ops.h"

namespace precis {

enum class AttentionKind : uint8_t { kSelf, kCross };

class GroupedAttention {
 public:
  GroupedAttention(const Architecture& arch, const ModelWeights& weights, uint32_t max_rows,
                   DeviceAllocator& allocator);

  // What `params` appends goes into the sums of squares of its rows' keys, where pages keep them.
  // `noise`: a row each, read where the model subtracts noise.
  void Run(const PagedAttentionParams& params, size_t layer, AttentionKind kind,
           std::span<const NoiseRow> noise);

  // Where heads are assigned: AssignHeadsParams::begin of the layer's last run; else empty.
  std::vector<uint32_t> Assigned(size_t layer, AttentionKind kind, size_t rows) const;

 private:
  // Returns the splits of the rows.
  std::span<const uint32_t> Assign(const PagedAttentionParams& params, size_t layer,
                                   AttentionKind kind);
  size_t AssignedAt(size_t layer, AttentionKind kind) const;  // index into assigned_

  const Architecture& arch_;
  const ModelWeights& weights_;
  const uint32_t max_rows_;
  const uint32_t num_kv_heads_;  // the same in all layers of a variant that asks
  Backend& backend_;
  GroupingOps* const ops_;  // not null where the variant asks for one

  DeviceArray<uint32_t> assigned_;  // [layers, kinds, rows, num_kv_heads + 1]
  DeviceArray<float> attended_;     // [rows, H * head_dim], before the noise
};

}  // namespace precis
