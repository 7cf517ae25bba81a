// What a model is, as plain data that encoder, decoder, loader and convert read. A family's file in
// engine/model/families makes it of config.json; nothing else asks which family a model is.
// Values, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/families/tensor_names.h"

namespace precis {

enum class Activation : uint8_t { kRelu, kGeluTanh };

// Scores of self-attention get bias[bucket of key position - query position, head].
struct RelativeBias {
  uint32_t num_buckets = 32;
  uint32_t max_distance = 128;  // from here on, all distances are in one bucket
  bool per_layer = false;       // a table for each layer; else one for all layers of a stack
};

struct SpecialTokens {
  std::vector<int32_t> ends = {1};  // ascending, kMaxEndTokens at most; none: only the length ends
  int32_t start = 0;
};

// Norm before each sublayer and at the end of each stack, root mean square with gains; attention
// does not scale its scores; no biases.
struct Architecture {
  std::string name;  // for people: "T5 v1.1"
  TensorNames names;
  uint32_t d_model = 0;
  uint32_t head_dim = 0;
  uint32_t d_ff = 0;
  uint32_t num_heads = 0;
  uint32_t num_encoder_layers = 0;
  uint32_t num_decoder_layers = 0;
  uint32_t vocab_size = 0;
  float norm_epsilon = 1e-6f;
  Activation activation = Activation::kRelu;
  bool gated = false;  // the feed-forward: activation(gate) * up
  RelativeBias position_bias;
  float logits_scale = 1.0f;  // what the decoder gives is multiplied by it before lm_head
  SpecialTokens tokens;       // where no file says them: the family's own
};

}  // namespace precis
