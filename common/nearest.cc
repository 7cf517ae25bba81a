#include "common/nearest.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <vector>

namespace precis {
namespace {

// Of a word that a person typed; what is longer is no typing error.
constexpr size_t kMostLetters = 64;
// Of a common beginning that says something.
constexpr size_t kLeastStart = 4;

std::string Folded(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b) {
  // Rows of the table of distances between the first i letters of a and the first j of b.
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, changed});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string Nearest(std::string_view word, std::span<const std::string> words) {
  if (word.empty() || word.size() > kMostLetters) return "";
  const std::string typed = Folded(word);
  const std::string* nearest = nullptr;
  size_t least = 0;
  for (const std::string& candidate : words) {
    const std::string known = Folded(candidate);
    const bool begins = std::min(typed.size(), known.size()) >= kLeastStart &&
                        (typed.starts_with(known) || known.starts_with(typed));
    const size_t distance = EditDistance(typed, known);
    if (!begins && distance > std::max<size_t>(1, typed.size() / 3)) continue;
    if (nearest != nullptr && distance >= least) continue;
    nearest = &candidate;
    least = distance;
  }
  return nearest == nullptr ? "" : *nearest;
}

std::string DidYouMean(std::string_view word, std::span<const std::string> words) {
  const std::string nearest = Nearest(word, words);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

}  // namespace precis
