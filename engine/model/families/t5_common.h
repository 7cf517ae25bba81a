// What T5 and its kin (mT5, umT5) share: the keys of their config.json and the names of their
// tensors. Used by the families' files alone. Values, no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/json_file.h"
#include "engine/model/families/architecture.h"

namespace precis {

// What transformers' config class has where the file says nothing.
struct T5Defaults {
  uint32_t vocab_size, d_model, d_kv, d_ff, num_layers, num_heads;
  std::string_view feed_forward_proj;
};

// All that the config says in T5's words: sizes, position buckets, feed-forward, norms. The rest is
// T5's own, but for the name and the scale of the logits, which are left open.
StatusOr<Architecture> DescribeT5Keys(const JsonKeys& config, const T5Defaults& defaults);

// The names of T5ForConditionalGeneration.
TensorNames T5Names();
// The same, tied in the order of MT5ForConditionalGeneration and UMT5ForConditionalGeneration.
TensorNames Mt5Names();

// d_model**-0.5, as transformers rounds it.
float ScaleByWidth(const Architecture& architecture);

}  // namespace precis
