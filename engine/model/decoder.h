// One decoder step for a batch of rows, each a token of some sequence at some position: its K and V
// go into the sequence's self page, and it sees its own pages only.
//
// Owner: the runner. Thread rule: the step thread. Formulas: as the encoder's (encoder.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/encoder.h"
#include "engine/model/families/architecture.h"
#include "engine/model/grouped_attention.h"
#include "engine/model/kv_layout.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace precis {

// A step's rows as flat arrays, filled once and read by every layer.
struct DecodeBatch {
  std::vector<int32_t> tokens;      // [rows]
  std::vector<SlotRef> slots;       // [rows], where the row's self K and V go
  std::vector<PagedRow> self_rows;  // [rows], into self_pages
  std::vector<int32_t> self_pages;
  std::vector<PagedRow> cross_rows;  // [rows], into cross_pages
  std::vector<int32_t> cross_pages;
  std::vector<NoiseRow> noise;  // [rows]

  void Reserve(size_t max_rows, size_t max_self_pages, size_t max_cross_pages);
  void Clear();
};

// Takes the scores of a step's next tokens as they come: panels of neighbouring tokens, in
// ascending order.
class VocabularySink {
 public:
  virtual ~VocabularySink() = default;
  // scores: [rows, count] on the device, of first_token and those after it; ops may change them,
  // and they are gone after the call.
  virtual void Take(int32_t first_token, size_t count, float* scores) = 0;
};

class Decoder {
 public:
  Decoder(const Architecture& arch, const ModelWeights& weights, const KvLayout& layout,
          const KvPool& pool, uint32_t max_rows, DeviceAllocator& allocator);

  // The logits of the rows' next tokens go to `sink`.
  void Run(const DecodeBatch& batch, VocabularySink& sink);

  const GroupedAttention& attention() const { return attention_; }

 private:
  void SelfAttention(size_t i, const DecodeBatch& batch);
  void CrossAttention(size_t i, const DecodeBatch& batch);

  const Architecture& arch_;
  const ModelWeights& weights_;
  const KvLayout& layout_;
  const KvPool pool_;
  Backend& backend_;
  const size_t inner_;  // num_heads * head_dim
  GroupedAttention attention_;

  std::vector<uint32_t> positions_;
  DeviceArray<float> x_;       // residual stream, [rows, d_model]
  DeviceArray<float> wide_;    // [rows, widest matrix that is not lm_head]
  DeviceArray<float> scores_;  // [rows, tokens of a panel]
  ActivationBuffer normed_;    // [rows, d_model]
  ActivationBuffer attended_;  // [rows, H * head_dim]
  ActivationBuffer hidden_;    // [rows, d_ff]
};

}  // namespace precis
