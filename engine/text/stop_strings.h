// Cuts a growing text before the first stop string, and holds back whatever could still become one.
// Owner: one sequence's text. Thread rule: one thread at a time.
//
// The first stop string to be complete counts, of several that end at the same byte the one that
// began first; so the cut does not depend on how the text was split into deltas.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace precis {

class StopMatcher {
 public:
  // Empty stop strings are passed over.
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Adds whole UTF-8; returns the text that is now safe to give out, in whole UTF-8.
  std::string Push(std::string_view delta);
  // What was held back, when the text has ended. Empty if a stop was found.
  std::string Finish();

  // All that Push and Finish returned is the text before the stop string.
  bool stopped() const { return found_.has_value(); }
  // Which of the stop strings it was.
  std::optional<size_t> found() const { return found_; }

 private:
  // Aho and Corasick's automaton: a node is a prefix of some stop string. The node we are in is the
  // longest such prefix that the text ends with, and its depth is what must be held back.
  struct Edge {
    uint8_t byte;
    uint32_t node;
  };
  struct Node {
    std::vector<Edge> edges;
    uint32_t depth = 0;
    uint32_t fallback = 0;        // the node of the longest proper suffix
    std::optional<size_t> match;  // longest stop string that ends here
    uint32_t match_bytes = 0;
  };

  std::optional<uint32_t> Child(uint32_t node, uint8_t byte) const;
  uint32_t Step(uint32_t node, uint8_t byte) const;
  void Insert(std::string_view stop, size_t index);
  void LinkFallbacks();
  // Removes the first `count` bytes of held_ and returns them, less if that would split a
  // character.
  std::string Release(size_t count);

  std::vector<Node> nodes_;
  uint32_t at_ = 0;
  std::string held_;
  std::optional<size_t> found_;
};

}  // namespace precis
