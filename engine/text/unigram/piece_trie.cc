#include "engine/text/unigram/piece_trie.h"

#include <algorithm>

namespace precis {

PieceTrie::PieceTrie(std::vector<std::pair<std::string_view, uint32_t>> entries) {
  std::sort(entries.begin(), entries.end());
  // One node is a range of the sorted entries that share their first `depth` bytes.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, entries.size(), 0}};
  label_.push_back(0);
  for (size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    first_child_.push_back(static_cast<uint32_t>(ranges.size()));
    value_.push_back(kNone);
    if (begin < end && entries[begin].first.size() == depth && depth > 0) {
      value_.back() = entries[begin++].second;
    }
    while (begin < end) {
      const char byte = entries[begin].first[depth];
      size_t next = begin;
      while (next < end && entries[next].first[depth] == byte) ++next;
      ranges.push_back({begin, next, depth + 1});
      label_.push_back(static_cast<uint8_t>(byte));
      begin = next;
    }
  }
  first_child_.push_back(static_cast<uint32_t>(ranges.size()));
  root_.fill(kNone);
  for (uint32_t child = first_child_[0]; child < first_child_[1]; ++child) {
    root_[label_[child]] = child;
  }
}

PieceTrie::Match PieceTrie::LongestPrefix(std::string_view text) const {
  Match longest;
  uint32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    node = Child(node, static_cast<uint8_t>(text[i]));
    if (node == kNone) break;
    if (Value(node) != kNone) longest = {i + 1, Value(node)};
  }
  return longest;
}

}  // namespace precis
