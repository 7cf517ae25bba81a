#include "engine/text/stop_strings.h"

#include <utility>

#include "engine/text/unicode/utf8.h"

namespace precis {

StopMatcher::StopMatcher(const std::vector<std::string>& stops) : nodes_(1) {
  for (size_t i = 0; i < stops.size(); ++i) {
    if (!stops[i].empty()) Insert(stops[i], i);
  }
  LinkFallbacks();
}

std::optional<uint32_t> StopMatcher::Child(uint32_t node, uint8_t byte) const {
  for (const Edge& edge : nodes_[node].edges) {
    if (edge.byte == byte) return edge.node;
  }
  return std::nullopt;
}

uint32_t StopMatcher::Step(uint32_t node, uint8_t byte) const {
  while (true) {
    if (const auto child = Child(node, byte)) return *child;
    if (node == 0) return 0;
    node = nodes_[node].fallback;
  }
}

void StopMatcher::Insert(std::string_view stop, size_t index) {
  uint32_t at = 0;
  for (const char c : stop) {
    const auto byte = static_cast<uint8_t>(c);
    if (const auto child = Child(at, byte)) {
      at = *child;
      continue;
    }
    const auto node = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back(Node{.edges = {}, .depth = nodes_[at].depth + 1, .match = std::nullopt});
    nodes_[at].edges.push_back({byte, node});
    at = node;
  }
  if (nodes_[at].match) return;  // the same stop string twice
  nodes_[at].match = index;
  nodes_[at].match_bytes = nodes_[at].depth;
}

void StopMatcher::LinkFallbacks() {
  // Breadth first, so that a fallback, being shorter, is complete when it is needed.
  std::vector<uint32_t> order = {0};
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t parent = order[i];
    for (const Edge& edge : nodes_[parent].edges) {
      Node& node = nodes_[edge.node];
      node.fallback = parent == 0 ? 0 : Step(nodes_[parent].fallback, edge.byte);
      const Node& shorter = nodes_[node.fallback];
      if (!node.match && shorter.match) {
        node.match = shorter.match;
        node.match_bytes = shorter.match_bytes;
      }
      order.push_back(edge.node);
    }
  }
}

std::string StopMatcher::Release(size_t count) {
  while (count > 0 && count < held_.size() && IsUtf8Continuation(held_[count])) --count;
  std::string out = held_.substr(0, count);
  held_.erase(0, count);
  return out;
}

std::string StopMatcher::Push(std::string_view delta) {
  if (stopped()) return {};
  for (const char c : delta) {
    held_.push_back(c);
    at_ = Step(at_, static_cast<uint8_t>(c));
    const Node& node = nodes_[at_];
    if (!node.match) continue;
    found_ = node.match;
    std::string out = Release(held_.size() - node.match_bytes);
    held_.clear();
    return out;
  }
  return Release(held_.size() - nodes_[at_].depth);
}

std::string StopMatcher::Finish() {
  at_ = 0;
  return std::exchange(held_, {});
}

}  // namespace precis
