// What an operator may set of the engine. Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <string>

namespace precis {

// What --device may be: cuda, the CPU, or ref, which is slow and exact; auto: cuda where there is a
// device and it has the type of the weights, else the CPU.
inline constexpr const char* kDevices[] = {"auto", "cpu", "cuda", "ref"};

struct EngineOptions {
  std::string model_dir;
  std::string served_model_name;  // empty: the checkpoint's (engine/model/config/model_name.h)
  std::string device = "auto";    // of kDevices
  std::string isa = "auto";       // pins kernels to one instruction set, for a fleet of mixed CPUs
  std::string dtype = "auto";     // weights: f32, bf16, int8; auto: bf16 where the device has it
  std::string kv_dtype = "auto";  // KV pages: f32, bf16, int8; auto: as dtype
  uint32_t threads = 0;           // 0: affinity and cgroup quota
  bool cuda_graphs = true;        // cuda: a decode step's launches as one; costs memory a graph
  uint64_t pool_bytes = 0;        // KV pages; 0: memory less weights and a fifth
  uint32_t max_batch = 64;        // sequences decoding at once; costs logits and scratch memory
  uint32_t max_sequences = 1024;  // accepted and unfinished, waiting ones included; costs little
  uint32_t max_source_tokens = 4096;  // costs two encoder workspaces of that length
  uint32_t max_new_tokens = 1024;     // most a request may ask for
  uint32_t encode_slice_rows = 128;   // rows of one piece of encoder work
  // Encoder work a step may add, as a share of a decode step. Infinite: all documents first, for an
  // offline batch.
  double encode_budget = 1.0;
  // Encoded documents stay in the pool while there is room, for the next request on the same text.
  bool cross_cache = true;
  // One principal's documents may serve another's requests: saves work where clients send the same
  // texts, and shows by its speed that another client sent this one.
  bool share_cross_cache = false;
};

}  // namespace precis
