// Text as the pieces spell it: characters mapped, spaces collapsed, each space written U+2581, one
// space put in front. As SentencePiece does it, byte for byte.
// Owner: the tokenizer. Thread rule: const after Create; any thread.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "engine/text/unigram/charsmap.h"
#include "engine/text/unigram/piece_trie.h"
#include "engine/text/unigram/unigram_spec.h"

namespace precis {

class Normalizer {
 public:
  static StatusOr<Normalizer> Create(const UnigramSpec& spec);

  // `text` is UTF-8. Both halves below at once.
  std::string Normalize(std::string_view text) const;
  // Characters alone: the rules of the model, and no space is touched that they do not touch.
  std::string MapCharacters(std::string_view text) const;
  // Spaces alone, of text that MapCharacters gave.
  std::string NormalizeSpaces(std::string_view mapped) const;
  // Whether there is nothing in it but white space, or what the rules make white space of.
  bool IsBlank(std::string_view text) const;

 private:
  struct Step {
    std::string_view output;  // points into the text or the rules
    size_t consumed = 0;
  };

  Normalizer() = default;
  Step Next(std::string_view text, bool mapped) const;
  Step Mapped(std::string_view text) const;
  static Step Character(std::string_view text);
  std::string Spell(std::string_view text, bool mapped) const;
  void AppendEscaped(std::string_view text, std::string* out) const;
  std::string_view space() const { return escape_ ? kSpaceSymbol : std::string_view(" "); }

  Charsmap charsmap_;
  PieceTrie user_defined_;  // these are never rewritten
  bool prefix_ = true;
  bool suffix_ = false;
  bool collapse_ = true;
  bool escape_ = true;
  bool any_whitespace_ = false;
};

}  // namespace precis
