#include "engine/text/windows.h"

#include <algorithm>

namespace precis {
namespace {

// How far from the place that would be right by numbers a better cut may lie, as a part of a
// window. A sentence of English has some 25 tokens, so a quarter of 512 nearly always has an end.
constexpr size_t kReach = 4;

// The best place to cut in [low, high], the last of several.
size_t LastBest(std::span<const Boundary> before, size_t low, size_t high) {
  size_t best = high;
  for (size_t i = high; i > low; --i) {
    if (before[i - 1] > before[best]) best = i - 1;
  }
  return best;
}

// The same, the first of several.
size_t FirstBest(std::span<const Boundary> before, size_t low, size_t high) {
  size_t best = low;
  for (size_t i = low + 1; i <= high; ++i) {
    if (before[i] > before[best]) best = i;
  }
  return best;
}

// The end of a window that begins at `begin` and does not reach the end of the source.
size_t EndOf(std::span<const Boundary> before, size_t begin, size_t window, size_t overlap) {
  const size_t left = before.size() - begin;
  size_t high = window;
  size_t low = window - (window - 1) / kReach;
  if (left + overlap <= 2 * window) {  // two windows hold what is left: in halves
    const size_t half = (left + overlap) / 2;
    high = std::min(window, half + window / (2 * kReach));
    low = std::max(left + overlap - window, half - std::min(half, window / (2 * kReach)));
    low = std::max<size_t>(low, 1);
  }
  return LastBest(before, begin + low, begin + high);
}

}  // namespace

std::vector<WindowRange> SplitWindows(std::span<const Boundary> before, size_t window_tokens,
                                      size_t overlap_tokens) {
  std::vector<WindowRange> out;
  const size_t overlap = std::min(overlap_tokens, window_tokens / kReach);
  size_t begin = 0;
  while (before.size() - begin > window_tokens) {
    const size_t end = EndOf(before, begin, window_tokens, overlap);
    out.push_back({begin, end});
    begin = FirstBest(before, end - overlap, end - overlap / 2);
  }
  if (begin < before.size()) out.push_back({begin, before.size()});
  return out;
}

}  // namespace precis
