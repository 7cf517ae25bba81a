// Cuts text at added tokens, as Hugging Face tokenizers do it with split_special_tokens: special
// ones are never cut out. Tokens that are not normalized are looked for first, in the text as it
// is; the others between them, in text whose characters were mapped. Owner: the tokenizer. Thread
// rule: const after construction; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/text/unicode/word_character.h"
#include "engine/text/unigram/normalizer.h"
#include "engine/text/unigram/piece_trie.h"
#include "engine/text/unigram/unigram_spec.h"

namespace precis {

class AddedTokens {
 public:
  // Of a cut text: an added token, or what lies between two of them (never empty).
  struct Part {
    std::optional<int32_t> id;
    std::string_view text;
  };

  // An error names the token and its file. The tokens in the order in which they go before each
  // other where two are the same once their characters are mapped. Without a normalizer none is.
  static StatusOr<AddedTokens> Create(std::span<const AddedToken> tokens,
                                      const Normalizer* normalizer);

  // Whether any text is cut, and whether there is a second cut.
  bool cut() const { return as_it_is_.cuts || mapped_.cuts; }
  bool cut_mapped() const { return mapped_.cuts; }

  std::vector<Part> Cut(std::string_view text) const { return Cut(as_it_is_, text); }
  // Of text whose characters were mapped.
  std::vector<Part> CutMapped(std::string_view text) const { return Cut(mapped_, text); }

 private:
  struct Set {
    PieceTrie trie;  // values: places in tokens
    std::vector<AddedToken> tokens;
    bool cuts = false;  // one of them is not special
  };

  AddedTokens() = default;
  std::vector<Part> Cut(const Set& set, std::string_view text) const;
  bool IsBesideWord(std::string_view before, std::string_view after) const;

  Set as_it_is_;
  Set mapped_;
  std::optional<WordCharacters> word_;  // where a token asks for it
};

}  // namespace precis
