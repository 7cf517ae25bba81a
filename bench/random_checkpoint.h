// A T5 checkpoint of random weights, for what a model costs where its words do not matter.
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

// Writes config.json, generation_config.json and model.safetensors (bf16) into `dir`, which exists.
Status WriteRandomCheckpoint(const std::string& dir, const RandomShape& shape);

}  // namespace precis
