// Which characters are part of a word, as the regular expression \w means it in Unicode: letters,
// marks, decimal digits, connecting punctuation, joiners.
// Owner: AddedTokens. Thread rule: const after construction; any thread.
#pragma once

#include <memory>
#include <string_view>

namespace re2 {
class RE2;
}

namespace precis {

class WordCharacters {
 public:
  WordCharacters();
  ~WordCharacters();
  WordCharacters(WordCharacters&&) noexcept;
  WordCharacters& operator=(WordCharacters&&) noexcept;

  // Of well-formed UTF-8; an empty text neither begins nor ends with one.
  bool Begins(std::string_view text) const;
  bool Ends(std::string_view text) const;

 private:
  std::unique_ptr<const re2::RE2> pattern_;
};

}  // namespace precis
