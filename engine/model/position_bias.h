// The relative position bias (Raffel et al. 2020), expanded once at load from [buckets, heads] to
// one row a head, so that kernels index it by distance (kernels/ops.h, PositionBias). Functions and
// values, no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace precis {

// relative_position is key position minus query position. The logarithm is taken in float32, as
// Hugging Face does (modeling_t5.py, _relative_position_bucket).
uint32_t RelativeBucket(int64_t relative_position, bool bidirectional, uint32_t num_buckets,
                        uint32_t max_distance);

// values[h * stride + zero + (key - query)] for key - query in -max_before .. max_after.
struct ExpandedBias {
  std::vector<float> values;  // [num_heads, stride]
  size_t stride = 0;
  size_t zero = 0;
};

// table: [num_buckets, num_heads] as in the checkpoint. The encoder is bidirectional and wants
// max_before = max_after = longest source - 1; the decoder is not and wants max_after = 0.
ExpandedBias ExpandBias(std::span<const float> table, uint32_t num_heads, bool bidirectional,
                        uint32_t num_buckets, uint32_t max_distance, uint32_t max_before,
                        uint32_t max_after);

}  // namespace precis
