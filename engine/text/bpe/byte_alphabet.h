// GPT-2's byte alphabet: a printable character for each byte, in which the pieces of a byte-level
// BPE are written ("Ġthe" is a space and "the").
// Called by the reader of the files and by the codec. Thread rule: functions of their arguments.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace precis {

// The character of each byte, in UTF-8.
const std::array<std::string, 256>& ByteCharacters();

// The bytes that a piece stands for. A text with a character that is not of the alphabet (an added
// token) stands for itself.
std::string BytesOfPiece(std::string_view piece);

}  // namespace precis
