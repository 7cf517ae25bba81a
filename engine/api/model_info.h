// Facts of a loaded checkpoint, for logs, replies, ListModels and `precis inspect`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/api/generation.h"
#include "engine/api/stack_shape.h"

namespace precis {

struct ModelInfo {
  std::string name;          // that it is served under (engine/model/config/model_name.h)
  std::string fingerprint;   // 16 hex digits over config and weights
  std::string architecture;  // of the family's description, for people
  std::string attention_variant;
  bool assigns_heads = false;    // query heads follow the norms of a sequence's keys
  bool subtracts_noise = false;  // GenerationOptions::noise_seed matters
  uint32_t vocab_size = 0;
  uint32_t d_model = 0;
  StackShape encoder;
  StackShape decoder;
  std::vector<uint32_t> self_kv_heads;       // one a decoder layer
  std::vector<uint32_t> cross_kv_heads;      // one a decoder layer
  std::vector<std::string> folded;           // what was folded at load, one line each
  uint32_t n_positions = 0;                  // of the config; 0 if it has none
  std::vector<int32_t> end_token_ids = {1};  // each ends a summary; none: only its length does
  int32_t decoder_start_token_id = 0;
  GenerationDefaults defaults;
  // Numbers and memory
  std::string device;         // "cpu", "cuda", "ref": what --device came to
  std::string kernels;        // for the log: threads, GEMM implementations, CUDA graphs
  std::string numerics;       // "weights bf16, kv bf16, cpu avx512_bf16, 2 threads"
  uint64_t weight_bytes = 0;  // packed
  uint64_t self_bytes_per_token = 0;
  uint64_t cross_bytes_per_token = 0;
  uint64_t page_bytes = 0;
  uint32_t self_slots = 0;  // tokens a self page holds
  uint32_t cross_slots = 0;
  uint64_t pool_bytes = 0;
  uint32_t pool_pages = 0;
};

}  // namespace precis
