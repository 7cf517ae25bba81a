// What a unigram tokenizer is made of, whichever file it came from: pieces, their scores and kinds,
// and how text is normalized. Filled by spiece_model.cc, tokenizer_json.cc
// and added_token_list.cc, read by Unigram, Normalizer and the tokenizer. Thread rule: values, no
// state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

// The character that stands for a space inside pieces, U+2581.
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

// Numbers as in SentencePiece's files.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // never made from text; decodes to nothing
  kUserDefined = 4,  // always one piece where it occurs in text
  kUnused = 5,       // never made from text; decodes to its text
  kByte = 6,         // "<0xNN>", what unknown characters fall back to
};

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct NormalizerSpec {
  std::string charsmap;  // compiled rules, see charsmap.h; empty: characters stay
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;  // the dummy space goes to the end
  bool any_whitespace = false;        // every character that Unicode calls white space is a space
};

// A token that was added to the tokenizer after its pieces were made: text is cut where it stands,
// or, if it is special, never becomes it. docs/tokenizer.md, "Added tokens".
struct AddedToken {
  std::string content;
  uint32_t id = 0;
  bool special = false;      // never made from text; decodes to nothing
  bool normalized = false;   // looked for in text whose characters were mapped, mapped itself
  bool single_word = false;  // only where no letter, digit or underscore is beside it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  std::string_view file;     // that says so, for errors
};

struct UnigramSpec {
  std::vector<Piece> pieces;
  std::vector<AddedToken> added;  // special ones first, then by id
  NormalizerSpec normalizer;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";  // what the unknown piece decodes to
};

// What every unigram model must satisfy: exactly one unknown piece, no empty, doubled or non-UTF-8
// piece, finite scores, and all 256 byte pieces if and only if unknown characters fall back to
// them.
Status ValidateUnigramSpec(const UnigramSpec& spec);

// Whether it is a sentinel (<extra_id_N>), which are special whoever lists them.
inline bool IsSentinel(std::string_view content) { return content.starts_with("<extra_id_"); }

// The byte a piece like "<0x0A>" stands for; -1 for other texts.
int ByteOfPiece(std::string_view piece);

// DIR/spiece.model, given as its bytes.
StatusOr<UnigramSpec> ParseSpieceModel(std::string_view bytes);

}  // namespace precis
