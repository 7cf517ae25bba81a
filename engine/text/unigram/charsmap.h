// SentencePiece's compiled character rules ("precompiled_charsmap"): the longest rule that matches
// at a place of the text gives its replacement.
// Owner: Normalizer. Thread rule: const after Parse; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

class Charsmap {
 public:
  Charsmap() = default;  // no rules
  // The blob: u32 trie_bytes, a double array trie as darts-clone writes it, then the replacements,
  // each closed by a NUL. All little-endian.
  static StatusOr<Charsmap> Parse(std::string_view blob);

  struct Match {
    size_t length = 0;  // bytes of the text that the rule takes; 0: no rule matches
    std::string_view replacement;
  };
  Match Longest(std::string_view text) const;

  bool empty() const { return units_.empty(); }

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace precis
