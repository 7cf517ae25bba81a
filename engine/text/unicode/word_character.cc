#include "engine/text/unicode/word_character.h"

#include <cstddef>
#include <string>

#include "common/check.h"
#include "engine/text/unicode/new_characters.h"
#include "engine/text/unicode/utf8.h"
#include "re2/re2.h"

namespace precis {
namespace {

// RE2's own \w is of ASCII alone. Behind the general categories: Join_Control, and what is
// Alphabetic without being a letter or a mark (circled and squared letters).
constexpr char kWordCharacter[] =
    R"(\pL\pM\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

std::string Pattern() {
  return std::string("[") + kWordCharacter + kNewLetters + kNewDigits + kNewMarks + "]";
}

}  // namespace

WordCharacters::WordCharacters() : pattern_(std::make_unique<re2::RE2>(Pattern())) {
  PRECIS_CHECK(pattern_->ok());
}
WordCharacters::~WordCharacters() = default;
WordCharacters::WordCharacters(WordCharacters&&) noexcept = default;
WordCharacters& WordCharacters::operator=(WordCharacters&&) noexcept = default;

bool WordCharacters::Begins(std::string_view text) const {
  const size_t length = Utf8CharLength(text);
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), length), *pattern_);
}

bool WordCharacters::Ends(std::string_view text) const {
  return Begins(text.substr(LastCharacter(text)));
}

}  // namespace precis
