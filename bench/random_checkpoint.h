// Checkpoints of random weights, of T5 and BART, for what a model costs where its words do not
// matter.
//
// Owner: tools under bench/. Thread rule: none.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace precis {

// The defaults are T5-base.
struct RandomShape {
  uint32_t vocab_size = 32128;
  uint32_t d_model = 768;
  uint32_t head_dim = 64;
  uint32_t num_heads = 12;
  uint32_t num_kv_heads = 12;  // of the decoder; fewer: GQA
  uint32_t d_ff = 3072;
  uint32_t num_layers = 12;  // of the encoder and of the decoder
};

// The defaults are bart-large-cnn.
struct RandomBartShape {
  uint32_t vocab_size = 50264;
  uint32_t d_model = 1024;
  uint32_t num_heads = 16;     // of both stacks
  uint32_t num_kv_heads = 16;  // of the decoder; fewer: GQA
  uint32_t d_ff = 4096;
  uint32_t encoder_layers = 12;
  uint32_t decoder_layers = 12;
  uint32_t max_positions = 1024;
};

// Both write config.json, generation_config.json and model.safetensors (bf16) into `dir`, which
// exists. No tokenizer: ids are sent. No option of generation is said, so that every engine does
// the work that its caller asks for.
Status WriteRandomCheckpoint(const std::string& dir, const RandomShape& shape);
Status WriteRandomCheckpoint(const std::string& dir, const RandomBartShape& shape);

}  // namespace precis
