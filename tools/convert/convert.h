// Another grouping of a checkpoint's decoder heads, written as a checkpoint of its own: an MHA one
// to any of the grouped variants, or a grouped one folded to plain GQA or to MHA with repeated
// heads (docs/convert.md). Called by `precis convert`; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"

namespace precis {

struct ConvertProgress {
  size_t phase = 0;
  size_t num_phases = 0;
  std::string what;     // "writing decoder.block.0..."
  double fraction = 0;  // of the phase
};

struct ConvertOptions {
  std::string source;
  std::string destination;  // must not exist; appears whole or not at all
  std::string variant;      // what to make of an MHA checkpoint: gqa, mqa, wgqa, ..., pgqa
  std::string fold;         // or what to fold a grouped checkpoint to: gqa, mha
  uint32_t kv_heads = 0;    // a layer has in the decoder (qcqa: on average); 0: as kv_bytes allows
  uint64_t kv_bytes = 0;    // most bytes of keys and values of a source token, and of a new token
  std::string kv_dtype = "bf16";       // what those bytes are of: f32, bf16, int8
  bool random_weights = false;         // of wgqa and its kin: from a standard normal, not the mean
  uint64_t seed = 1;                   // of random weights, and of qcqa's search
  std::function<bool()> is_cancelled;  // may be empty; asked many times a second
  std::function<void(const ConvertProgress&)> on_progress;  // may be empty
};

// qcqa: the least weight error that was found for so many KV heads.
struct CapacityPoint {
  double kv_heads = 0;           // of a layer, on average
  uint64_t bytes_per_token = 0;  // of keys and values
  double self_error = 0;         // shares of the energy of all K and V weights; 0: MHA
  double cross_error = 0;
  // The same of GQA's neighbouring heads; negative where kv_heads does not divide the heads.
  double gqa_self_error = -1;
  double gqa_cross_error = -1;
};

struct ConvertReport {
  std::string source_variant;
  std::string variant;
  std::vector<uint32_t> self_kv_heads;  // a decoder layer
  std::vector<uint32_t> cross_kv_heads;
  uint32_t num_heads = 0;
  std::string kv_dtype;
  // Of a token of the source and of the summary, in all decoder layers.
  uint64_t source_token_bytes = 0;
  uint64_t new_token_bytes = 0;
  uint64_t mha_token_bytes = 0;
  std::vector<CapacityPoint> curve;     // qcqa, by rising capacity
  std::vector<std::string> not_copied;  // files of the source that have no place in the result
};

// INVALID_ARGUMENT or FAILED_PRECONDITION name file, tensor or key; CANCELLED when asked to stop.
// After an error nothing is left behind.
StatusOr<ConvertReport> Convert(const ConvertOptions& options);

}  // namespace precis
