// A set of byte strings with a number each, walked byte by byte from a place in a text.
// Owner: Unigram and Normalizer. Thread rule: const after construction; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace precis {

class PieceTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  PieceTrie() : PieceTrie(std::vector<std::pair<std::string_view, uint32_t>>{}) {}
  // Keys are unique and not empty; values are less than kNone.
  explicit PieceTrie(std::vector<std::pair<std::string_view, uint32_t>> entries);

  // The node below `node` along `byte`, or kNone.
  uint32_t Child(uint32_t node, uint8_t byte) const {
    if (node == kRoot) return root_[byte];
    // Siblings are few almost everywhere: a scan beats a search.
    for (uint32_t child = first_child_[node]; child < first_child_[node + 1]; ++child) {
      if (label_[child] == byte) return child;
      if (label_[child] > byte) break;
    }
    return kNone;
  }

  // The number of the string that ends at `node`, or kNone.
  uint32_t Value(uint32_t node) const { return value_[node]; }

  struct Match {
    size_t length = 0;  // bytes; 0: none of the set
    uint32_t value = kNone;
  };
  // The longest string of the set that `text` starts with.
  Match LongestPrefix(std::string_view text) const;

  bool empty() const { return value_.size() == 1; }

 private:
  // Nodes in breadth-first order: the children of n are first_child_[n] .. first_child_[n + 1] - 1,
  // ordered by label.
  std::vector<uint32_t> first_child_;
  std::vector<uint8_t> label_;
  std::vector<uint32_t> value_;
  std::array<uint32_t, 256> root_;
};

}  // namespace precis
