// What a model is, as plain data that encoder, decoder, loader and convert read. A family's file in
// engine/model/families makes it of config.json; nothing else asks which family a model is.
// Values, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/api/stack_shape.h"
#include "engine/model/families/tensor_names.h"
#include "kernels/row_kinds.h"

namespace precis {

// Scores of self-attention get bias[bucket of key position - query position, head].
struct RelativeBias {
  uint32_t num_buckets = 32;
  uint32_t max_distance = 128;  // from here on, all distances are in one bucket
  bool per_layer = false;       // a table for each layer; else one for all layers of a stack
};

// Position p of a stack adds row p + offset of the stack's table to the embedding.
struct LearnedPositions {
  uint32_t offset = 0;
};

enum class NormPlace : uint8_t {
  kBefore,  // x + sublayer(norm(x))
  kAfter,   // norm(x + sublayer(x))
};

struct SpecialTokens {
  std::vector<int32_t> ends = {1};  // ascending, kMaxEndTokens at most; none: only the length ends
  int32_t start = 0;
};

struct Architecture {
  std::string name;  // for people: "T5 v1.1"
  TensorNames names;
  uint32_t d_model = 0;
  uint32_t vocab_size = 0;
  StackShape encoder;
  StackShape decoder;

  NormKind norm = NormKind::kRms;
  NormPlace norm_place = NormPlace::kBefore;
  float norm_epsilon = 1e-6f;
  bool embedding_norm = false;  // of what goes into the first layer
  bool final_norm = true;       // of what the last layer of a stack gives
  bool biases = false;          // of all matrices of attention and feed-forward
  bool logits_bias = false;     // a vector that files may leave out

  std::optional<RelativeBias> position_bias;
  std::optional<LearnedPositions> positions;
  float embedding_scale = 1.0f;
  bool scales_attention = false;  // scores by head_dim^-0.5 of the stack; goes into q at load
  float logits_scale = 1.0f;      // what the decoder gives is multiplied by it before lm_head
  ActivationKind activation = ActivationKind::kRelu;
  bool gated = false;    // the feed-forward: activation(gate) * up
  SpecialTokens tokens;  // where no file says them: the family's own
};

}  // namespace precis
