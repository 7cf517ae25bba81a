#include "engine/text/bpe/word_splitter.h"

#include <string>

#include "common/check.h"
#include "engine/text/unicode/new_characters.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace precis {
namespace {

// White space as IsUnicodeWhitespace has it; RE2's own \s is of ASCII.
constexpr char kSpaces[] =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

// GPT-2's, less the alternative \s+(?!\S).
std::string Pattern() {
  return fmt::format(
      R"('s|'t|'re|'ve|'m|'ll|'d| ?[\pL{0}]+| ?[\pN{1}]+| ?[^\pL{0}\pN{1}{2}]+|[{2}]+)",
      kNewLetters, kNewDigits, kSpaces);
}

}  // namespace

WordSplitter::WordSplitter() : pattern_(std::make_unique<re2::RE2>(Pattern())) {
  PRECIS_CHECK(pattern_->ok());
}
WordSplitter::~WordSplitter() = default;
WordSplitter::WordSplitter(WordSplitter&&) noexcept = default;
WordSplitter& WordSplitter::operator=(WordSplitter&&) noexcept = default;

// White space before a word leaves its last character to that word: \s+(?!\S). A match that ends in
// white space is nothing else.
size_t WordSplitter::FirstWord(std::string_view text) const {
  re2::StringPiece match;
  const re2::StringPiece all(text.data(), text.size());
  const bool found =
      pattern_->Match(all, 0, text.size(), re2::RE2::ANCHOR_START, &match, /*nsubmatch=*/1);
  PRECIS_CHECK(found && !match.empty());  // some alternative takes any character
  if (match.size() == text.size()) return text.size();
  const std::string_view word = text.substr(0, match.size());
  const size_t last = LastCharacter(word);
  return last > 0 && IsUnicodeWhitespace(word.substr(last)) ? last : word.size();
}

}  // namespace precis
