// Cuts a source that is too long into overlapping windows, at the ends of sentences where there are
// any in reach. On positions alone: no text, no ids.
// Called by the reading plan of a request. Thread rule: functions of their arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/text/sentence_ends.h"

namespace precis {

struct WindowRange {  // of tokens: [begin, end)
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
  bool operator==(const WindowRange&) const = default;
};

// Windows of at most `window_tokens` (1 or more) over as many tokens as there are boundaries
// (before[i] lies before token i; before[0] does not count). Every token is in a window, no window
// is empty, and each begins after the one before it and at most `overlap_tokens` before its end
// (no more than a quarter of a window is taken). One window if the source fits into it. The last
// two are about equal, so that none holds a mere rest.
std::vector<WindowRange> SplitWindows(std::span<const Boundary> before, size_t window_tokens,
                                      size_t overlap_tokens);

}  // namespace precis
