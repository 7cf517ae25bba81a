#include "engine/text/unigram/charsmap.h"

#include <cstring>

#include "fmt/format.h"

namespace precis {
namespace {

// One unit of the double array.
bool HasLeaf(uint32_t unit) { return ((unit >> 8) & 1) != 0; }
uint32_t LeafValue(uint32_t unit) { return unit & 0x7FFFFFFF; }
// A leaf keeps bit 31, so that it never equals a byte.
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

}  // namespace

StatusOr<Charsmap> Charsmap::Parse(std::string_view blob) {
  Charsmap map;
  if (blob.empty()) return map;
  uint32_t trie_bytes = 0;
  if (blob.size() > sizeof trie_bytes) std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes >= blob.size() - sizeof trie_bytes ||
      blob.back() != '\0') {
    return InvalidArgument(fmt::format("precompiled_charsmap: {} bytes with a trie of {} bytes",
                                       blob.size(), trie_bytes));
  }
  map.units_.resize(trie_bytes / 4);
  std::memcpy(map.units_.data(), blob.data() + sizeof trie_bytes, trie_bytes);
  map.replacements_ = blob.substr(sizeof trie_bytes + trie_bytes);
  return map;
}

Charsmap::Match Charsmap::Longest(std::string_view text) const {
  Match match;
  if (units_.empty()) return match;
  size_t value = 0;
  // A broken trie may point anywhere: every index is checked.
  uint32_t at = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (at >= units_.size() || Label(units_[at]) != byte) break;
    const uint32_t unit = units_[at];
    at ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (at >= units_.size()) break;
    value = LeafValue(units_[at]);
    match.length = i + 1;
  }
  if (match.length == 0) return match;
  if (value >= replacements_.size()) return {};
  match.replacement = replacements_.data() + value;  // up to its NUL; the last byte is one
  return match;
}

}  // namespace precis
