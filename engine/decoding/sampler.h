// Draws one token from processed logits: temperature, then top-k, then top-p, then the inverse of
// the distribution's sum in the order of ids, at a number that depends on (seed, sequence,
// position) only. So the same request gives the same text whatever else is in the batch.
//
// Owner: the runner. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/api/generation.h"

namespace precis {

class Sampler {
 public:
  explicit Sampler(uint32_t vocab_size);

  // logits: [vocab], may hold -inf; changed in place. Requires options.Samples().
  int32_t Sample(std::span<float> logits, const GenerationOptions& options, uint32_t sequence,
                 uint32_t position);

 private:
  static void Divide(std::span<float> logits, float temperature);
  void KeepTopK(std::span<float> logits, uint32_t k);
  void KeepTopP(std::span<float> logits, float p);

  std::vector<float> values_;   // scratch, [vocab]
  std::vector<int32_t> order_;  // scratch, [vocab]
};

}  // namespace precis
