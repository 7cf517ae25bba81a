// Where a family's checkpoints keep which tensor: a table that its file in engine/model/families
// fills. In a name, "{}" stands for the number of a layer. Where a family has biases, one is named
// as its matrix or its norm, with "bias" for "weight". Values, no state.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace precis {

struct AttentionNames {
  std::string_view norm;    // gains of its norm, [d_model]
  std::string_view prefix;  // of its matrices, and of what a grouping keeps beside them
};

struct FeedForwardNames {
  std::string_view norm;
  std::string_view prefix;
};

struct StackNames {
  AttentionNames self;
  AttentionNames cross;  // the decoder's
  FeedForwardNames feed_forward;
  std::string_view position_bias;   // [buckets, heads]; of layer 0 where all layers share one
  std::string_view positions = {};  // [offset + max_positions, d_model], where they are learned
  std::string_view embedding_norm = {};
  std::string_view final_norm;
};

// Names that one matrix of [vocab, d_model] may have, in a file all of them or any. The three
// others look for a matrix in the order in which `ties` has them (embedding_ties.h).
struct EmbeddingAliases {
  std::string_view shared;
  std::string_view encoder;
  std::string_view decoder;
  std::string_view lm_head;
  std::array<std::string_view, 3> ties;
};

struct TensorNames {
  // A file may leave it out, of all names but that of lm_head and of the logits' bias.
  std::string_view base_prefix = {};
  EmbeddingAliases embedding;
  StackNames encoder;
  StackNames decoder;
  // Behind the prefix of an attention.
  std::string_view q, k, v, o;
  // Behind the prefix of a feed-forward: [d_ff, d_model], or both where it is gated, then
  // [d_model, d_ff].
  std::string_view in, gate, up, out;
  std::string_view logits_bias = {};  // [1, vocab]
  std::string_view stray;             // may be in a file; no model reads it

  // "decoder.block.0.layer.0.SelfAttention.", for the matrices and for what a grouping adds.
  std::string DecoderAttention(uint32_t layer, bool cross) const;
  // `which`: 'q', 'k', 'v' or 'o'.
  std::string Projection(std::string_view attention, char which) const;
  // One of the four names of the embedding.
  bool IsEmbedding(std::string_view name) const;
  // Multiplied with: a matrix of an attention or of a feed-forward.
  bool IsProjection(std::string_view name) const;
  // No one misses it where it is there and not read.
  bool MayBeUnread(std::string_view name) const;
};

// "fc1.bias" of "fc1.weight".
std::string BiasOf(std::string_view weight);

// The name of `layer`'s tensor.
std::string OfLayer(std::string_view name, uint32_t layer);

}  // namespace precis
