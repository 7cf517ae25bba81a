// Where a list of token ids may be cut: at the ends of sentences, between words, or between pieces.
// A rule of thumb on the decoded text, for any language that ends sentences with a mark.
// Called by the long-document windows. Thread rule: functions of their arguments.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.h"

namespace precis {

// What lies before a token; more is a better place to cut. kInside: the bytes of a character on
// both sides.
enum class Boundary : uint8_t { kInside, kPiece, kWord, kSentence };

// One for each id: what lies between it and the id before it. Linear in the ids.
std::vector<Boundary> FindBoundaries(const Tokenizer& tokenizer, std::span<const int32_t> ids);

// Whether a sentence ends with `word`, if `next` (the text that follows, white space left out) does
// not go on with it: "end." does, "Dr." and "e.g." do not, nor "p." before "17".
bool EndsSentence(std::string_view word, std::string_view next);

}  // namespace precis
