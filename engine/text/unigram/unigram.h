// The most probable pieces of a normalized text: Viterbi over a unigram model.
// Owner: the tokenizer. Thread rule: const after construction; any thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/unigram/piece_trie.h"
#include "engine/text/unigram/unigram_spec.h"

namespace precis {

class Unigram {
 public:
  // `spec` must outlive this and be valid (ValidateUnigramSpec).
  explicit Unigram(const UnigramSpec& spec);

  // Linear in the text; runs of unknown characters are one unknown id, or bytes if the model has
  // byte pieces.
  std::vector<int32_t> Encode(std::string_view normalized) const;

 private:
  struct Node {  // the best way to get to a byte of the text
    int32_t id = -1;
    uint32_t length = 0;  // bytes of the last piece; 0: not reached
    float score = 0;      // float and not more: near ties must fall as they do in SentencePiece
  };
  struct Output;

  // Offers every piece that starts at `begin` to the nodes where they end; returns the furthest of
  // these. nodes[0] is text[base].
  size_t Extend(std::string_view text, size_t begin, size_t base, std::vector<Node>* nodes) const;
  // Counts from zero again at nodes[first] when the sum has grown large.
  static void Recenter(size_t first, std::vector<Node>* nodes);
  void Emit(std::string_view text, size_t base, const std::vector<Node>& nodes, Output* out) const;

  const std::vector<Piece>& pieces_;
  PieceTrie trie_;
  std::vector<int32_t> byte_ids_;  // 256, or none without byte fallback
  int32_t unk_id_ = 0;
  float unk_score_ = 0;
  float max_score_ = 0;
};

}  // namespace precis
