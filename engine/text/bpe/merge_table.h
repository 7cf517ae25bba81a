// The merges of a byte-level BPE, and what they make of a word: again and again the pair of
// neighbours whose merge stands first in the list becomes one piece, of several such pairs the
// leftmost. Owner: BpeCodec. Thread rule: const once it is filled; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace precis {

class MergeTable {
 public:
  // What a word needs while it is merged; kept from word to word.
  struct Scratch {
    struct Symbol {
      uint32_t id = 0;
      uint32_t bytes = 0;  // 0: it became part of the symbol before it
      uint32_t previous = 0;
      uint32_t next = 0;
    };
    struct Candidate {
      uint32_t rank = 0;
      uint32_t at = 0;  // the left symbol
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    size_t merges_tried = 0;  // candidates taken from the heap, over all words
  };

  // `piece_of_byte`: the id of each byte's own piece.
  explicit MergeTable(const std::array<uint32_t, 256>& piece_of_byte)
      : piece_of_byte_(piece_of_byte) {}

  // The next merge of the list; of a pair that is there twice, the later place counts.
  void Add(uint32_t left, uint32_t right, uint32_t result);

  // Appends the ids of a word of fewer than 2^32 bytes. n log n in its bytes n: each merge takes a
  // symbol away and adds two candidates at most.
  void Encode(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const;

 private:
  struct Rule {
    uint32_t rank = 0;
    uint32_t result = 0;
  };

  const Rule* Find(uint32_t left, uint32_t right) const;
  // The rule of a symbol and the one after it, if there are both.
  const Rule* RuleAt(const Scratch& scratch, uint32_t at) const;
  void Fill(std::string_view word, Scratch* scratch) const;
  void Push(uint32_t at, Scratch* scratch) const;

  std::array<uint32_t, 256> piece_of_byte_;
  absl::flat_hash_map<uint64_t, Rule> rules_;  // by both ids
  uint32_t next_rank_ = 0;
};

}  // namespace precis
