#include "engine/text/bpe/word_splitter.h"

#include <string>

#include "common/check.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace precis {
namespace {

// The tables of tokenizers 0.22 are Unicode's 16, those of RE2 in Debian 12 older: these letters
// and digits came later.
constexpr char kLetters[] =
    R"(\pL\x{1C89}\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"
    R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{13460}-\x{143FA})"
    R"(\x{16100}-\x{1611D}\x{16D40}-\x{16D6C}\x{18CFF}\x{1E5D0}-\x{1E5ED}\x{1E5F0})"
    R"(\x{2EBF0}-\x{2EE5D})";
constexpr char kDigits[] =
    R"(\pN\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{16130}-\x{16139})"
    R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1E5F1}-\x{1E5FA})";
// White space as IsUnicodeWhitespace has it; RE2's own \s is of ASCII.
constexpr char kSpaces[] =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

// GPT-2's, less the alternative \s+(?!\S).
std::string Pattern() {
  return fmt::format("'s|'t|'re|'ve|'m|'ll|'d| ?[{0}]+| ?[{1}]+| ?[^{0}{1}{2}]+|[{2}]+", kLetters,
                     kDigits, kSpaces);
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
