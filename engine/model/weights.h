// The weights of a model, packed for one backend: QKV and gate+up are one matrix each, grouped K
// and V are folded before packing, so that afterwards every grouping is a GQA model. Of biases, K's
// is gone and V's is in the output's, and q is scaled: attention itself knows neither
// (docs/design/architecture.md, "Biases").
//
// Owner: the runner. Thread rule: loading on one thread; const afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/embedding_ties.h"
#include "engine/model/config/model_config.h"
#include "kernels/backend.h"
#include "kernels/grouping_ops.h"

namespace precis {

// Gains of a norm and, where it has them, its shifts, [d_model] each.
struct StoredNorm {
  DeviceArray<float> gain;
  DeviceArray<float> shift;
  NormWeights Of(const Architecture& arch) const {
    return {arch.norm, gain.data(), shift.empty() ? nullptr : shift.data(), arch.norm_epsilon};
  }
};

// A layer's norms are before their sublayers or after them (Architecture::norm_place).
struct FeedForward {
  StoredNorm norm;
  std::unique_ptr<PackedMatrix> wi;  // [d_ff, d_model], or [gate d_ff | up d_ff, d_model]
  std::unique_ptr<PackedMatrix> wo;  // [d_model, d_ff]
};

struct EncoderLayer {
  StoredNorm norm;
  std::unique_ptr<PackedMatrix> qkv;  // [3 * H * head_dim, d_model]
  std::unique_ptr<PackedMatrix> o;    // [d_model, H * head_dim]
  FeedForward ffn;
};

// Query heads in the order of the KV heads they read; the storage of a HeadGroups.
struct GroupedHeads {
  std::vector<uint32_t> heads;
  std::vector<uint32_t> begin;
  HeadGroups view() const { return {heads, begin}; }
  uint32_t num_kv_heads() const { return static_cast<uint32_t>(begin.size()) - 1; }
};

struct DecoderLayer {
  StoredNorm self_norm;
  std::unique_ptr<PackedMatrix> self_qkv;  // [(H + 2 G) * head_dim, d_model]
  std::unique_ptr<PackedMatrix> self_o;
  GroupedHeads self_groups;
  DeviceArray<float> self_cached_norm;  // [G], of dgqa_diff and dgqa_ema
  StoredNorm cross_norm;
  std::unique_ptr<PackedMatrix> cross_q;   // [H * head_dim, d_model]
  std::unique_ptr<PackedMatrix> cross_kv;  // [2 G * head_dim, d_model]
  std::unique_ptr<PackedMatrix> cross_o;
  GroupedHeads cross_groups;
  DeviceArray<float> cross_cached_norm;
  FeedForward ffn;

  std::span<const float> self_cached_norms() const {
    return {self_cached_norm.data(), self_cached_norm.size()};
  }
  std::span<const float> cross_cached_norms() const {
    return {cross_cached_norm.data(), cross_cached_norm.size()};
  }
};

// The ExpandedBias of each layer of a stack, or the one that all its layers share, where ops can
// read them.
struct StackBias {
  std::vector<DeviceArray<float>> values;  // [num_heads, stride] each; none: no bias
  size_t stride = 0;
  size_t zero = 0;
  PositionBias Of(size_t layer) const {
    if (values.empty()) return {};
    return {values[values.size() == 1 ? 0 : layer].data(), stride, zero};
  }
};

// What a stack has beside its layers; empty what the architecture does not have.
struct StackEnds {
  DeviceArray<float> positions;  // [max_positions, d_model]
  StoredNorm embedding_norm;
  StackBias bias;
  StoredNorm final_norm;  // of the decoder times the scale of the logits
};

// Neighbouring tokens of the vocabulary, whose scores stay in cache until they are reduced.
struct VocabularyPanel {
  int32_t first_token;
  std::unique_ptr<PackedMatrix> w;  // [tokens, d_model]
};

// Longest sequences and most rows that the weights' tables and matrices must serve.
struct WeightLimits {
  uint32_t max_source_tokens = 0;
  uint32_t max_target_tokens = 0;
  uint32_t max_encode_rows = 0;
  uint32_t max_decode_rows = 0;
};

// `projections`: what is multiplied with; in int8, hidden channels are evened out before
// (engine/model/channel_scaling.h). `others`: the embedding, never int8.
struct WeightTypes {
  DType projections = DType::kF32;
  DType others = DType::kF32;
};

struct ModelWeights {
  WeightTypes types;
  std::optional<HeadShares> head_shares;     // where the norms of keys assign query heads
  bool subtracts_noise = false;              // pgqa
  DeviceArray<std::byte> embedding;          // [vocab, d_model] of types.others
  DeviceArray<std::byte> decoder_embedding;  // the decoder's own; empty where it reads `embedding`
  std::vector<EncoderLayer> encoder;
  StackEnds encoder_ends;
  std::vector<DecoderLayer> decoder;
  StackEnds decoder_ends;
  std::vector<VocabularyPanel> lm_head;  // in ascending order of tokens
  std::vector<std::string> folded;       // one line a distinct folding, for people
  uint64_t bytes = 0;                    // packed matrices, embeddings, tables of positions

  const std::byte* target_embedding() const {
    return decoder_embedding.size() > 0 ? decoder_embedding.data() : embedding.data();
  }
};

// Reads, folds and packs everything. The error names file and tensor.
StatusOr<ModelWeights> LoadModelWeights(Checkpoint& checkpoint, const ModelConfig& config,
                                        const ResolvedAttention& attention,
                                        const EmbeddingNames& embeddings, Backend& backend,
                                        const WeightTypes& types, const WeightLimits& limits);

}  // namespace precis
