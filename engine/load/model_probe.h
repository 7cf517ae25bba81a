// What a loaded model computes between its tokens: the encoder's output and the decoder's logits,
// of one document on its own. For verification and tests.
//
// Owner: who verifies. Thread rule: one thread, while nothing else runs the model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/run/model.h"

namespace precis {

// How many query heads each KV head served for one position.
struct HeadSplit {
  uint32_t layer = 0;
  bool cross = false;
  uint32_t position = 0;
  std::vector<uint32_t> heads;
};

class ModelProbe {
 public:
  // `model` outlives it. What its pages hold is overwritten.
  explicit ModelProbe(Model& model) : model_(model) {}

  // [tokens, d_model] as f32: the final norm's output. The pages must hold the document.
  std::vector<float> Encode(std::span<const int32_t> ids);
  // Teacher-forced logits [target.size(), vocab] for `ids`; the pages must hold both. `splits` (may
  // be null) gets those of every position and layer, where query heads are assigned.
  std::vector<float> Logits(std::span<const int32_t> ids, std::span<const int32_t> target,
                            uint64_t noise_seed = 0, std::vector<HeadSplit>* splits = nullptr);

 private:
  void AddSplits(uint32_t position, std::vector<HeadSplit>* out) const;

  Model& model_;
};

}  // namespace precis
