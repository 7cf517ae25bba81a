// The word that a person may have meant: for flags, keys and variables that are unknown. Pure
// functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace precis {

// Letters to insert, delete, change, or swap with their neighbour, until `a` is `b`.
size_t EditDistance(std::string_view a, std::string_view b);

// The one of `words` that `word` is nearest to, the first of equals; '_' counts as '-', and the
// case does not count. Empty where none is near: more than a third of the letters differ, and
// neither begins with the other.
std::string Nearest(std::string_view word, std::span<const std::string> words);

// "; did you mean WORD?", or nothing where there is no nearest one.
std::string DidYouMean(std::string_view word, std::span<const std::string> words);

}  // namespace precis
