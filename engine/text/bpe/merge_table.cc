#include "engine/text/bpe/merge_table.h"

#include <algorithm>

namespace precis {
namespace {

using Candidate = MergeTable::Scratch::Candidate;
using Symbol = MergeTable::Scratch::Symbol;

uint64_t KeyOf(uint32_t left, uint32_t right) { return (uint64_t{left} << 32) | right; }

// Of the heap, whose top is the largest: what comes first.
bool ComesLater(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

}  // namespace

void MergeTable::Add(uint32_t left, uint32_t right, uint32_t result) {
  rules_[KeyOf(left, right)] = {.rank = next_rank_++, .result = result};
}

const MergeTable::Rule* MergeTable::Find(uint32_t left, uint32_t right) const {
  const auto it = rules_.find(KeyOf(left, right));
  return it == rules_.end() ? nullptr : &it->second;
}

const MergeTable::Rule* MergeTable::RuleAt(const Scratch& scratch, uint32_t at) const {
  const Symbol& left = scratch.symbols[at];
  if (left.bytes == 0 || left.next == scratch.symbols.size()) return nullptr;
  return Find(left.id, scratch.symbols[left.next].id);
}

void MergeTable::Fill(std::string_view word, Scratch* scratch) const {
  const auto size = static_cast<uint32_t>(word.size());
  scratch->symbols.clear();
  scratch->symbols.reserve(size);
  scratch->heap.clear();
  for (uint32_t i = 0; i < size; ++i) {
    const uint32_t id = piece_of_byte_[static_cast<uint8_t>(word[i])];
    scratch->symbols.push_back({.id = id, .bytes = 1, .previous = i - 1, .next = i + 1});
  }
  for (uint32_t i = 0; i < size; ++i) {
    const Rule* rule = RuleAt(*scratch, i);
    if (rule != nullptr) scratch->heap.push_back({.rank = rule->rank, .at = i});
  }
  std::ranges::make_heap(scratch->heap, ComesLater);
}

void MergeTable::Push(uint32_t at, Scratch* scratch) const {
  const Rule* rule = RuleAt(*scratch, at);
  if (rule == nullptr) return;
  scratch->heap.push_back({.rank = rule->rank, .at = at});
  std::ranges::push_heap(scratch->heap, ComesLater);
}

void MergeTable::Encode(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const {
  Fill(word, scratch);
  std::vector<Symbol>& symbols = scratch->symbols;
  while (!scratch->heap.empty()) {
    const Candidate best = scratch->heap.front();
    std::ranges::pop_heap(scratch->heap, ComesLater);
    scratch->heap.pop_back();
    ++scratch->merges_tried;
    const Rule* rule = RuleAt(*scratch, best.at);
    // Another merge took one of the two meanwhile.
    if (rule == nullptr || rule->rank != best.rank) continue;
    Symbol& left = symbols[best.at];
    Symbol& right = symbols[left.next];
    left.id = rule->result;
    left.bytes += right.bytes;
    left.next = right.next;
    right.bytes = 0;
    if (left.next < symbols.size()) symbols[left.next].previous = best.at;
    if (best.at > 0) Push(left.previous, scratch);
    Push(best.at, scratch);
  }
  for (uint32_t at = 0; at < symbols.size(); at = symbols[at].next) {
    ids->push_back(static_cast<int32_t>(symbols[at].id));
  }
}

}  // namespace precis
