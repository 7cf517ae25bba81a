// The biases of keys and values, which pages and attention kernels never meet. That of keys adds
// the same number to all scores of a query, which softmax does not see: it is left out. Softmax's
// weights sum to 1, so that of values adds one vector to what each query head gives:
//   b_o' = b_o + sum over KV heads g, query heads h of g: W_o[h] b_v[g]
// (docs/design/architecture.md, "Biases"). Called by the weight loader, before any cast. Thread
// rule: functions, no state.
#pragma once

#include <cstdint>
#include <span>

#include "engine/model/config/model_config.h"

namespace precis {

// Adds the bias of the values to that of the output. w: [d_model, heads * head_dim]; groups: the
// query heads that read each KV head; value_bias: [KV heads * head_dim]; out: [d_model]. Sums in
// double.
void AddValueBias(std::span<const float> w, const HeadGrouping& groups,
                  std::span<const float> value_bias, uint32_t head_dim, std::span<float> out);

}  // namespace precis
