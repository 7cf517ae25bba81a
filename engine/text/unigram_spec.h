// What a unigram tokenizer is made of, whichever file it came from: pieces, their scores and kinds,
// and how text is normalized. Filled by spiece_model.cc and tokenizer_json.cc, read by Unigram,
// Normalizer and the tokenizer. Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <string>
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

struct UnigramSpec {
  std::vector<Piece> pieces;
  NormalizerSpec normalizer;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";  // what the unknown piece decodes to
};

// What every unigram model must satisfy: exactly one unknown piece, no empty, doubled or non-UTF-8
// piece, finite scores, and all 256 byte pieces if and only if unknown characters fall back to
// them.
Status ValidateUnigramSpec(const UnigramSpec& spec);

// The byte a piece like "<0x0A>" stands for; -1 for other texts.
int ByteOfPiece(std::string_view piece);

// DIR/spiece.model, given as its bytes.
StatusOr<UnigramSpec> ParseSpieceModel(std::string_view bytes);
// DIR/tokenizer.json, given as its bytes. What cannot be honoured is refused by name.
StatusOr<UnigramSpec> ParseTokenizerJson(std::string_view bytes);

}  // namespace precis
