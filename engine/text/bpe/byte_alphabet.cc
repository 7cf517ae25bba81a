#include "engine/text/bpe/byte_alphabet.h"

#include <cstddef>

namespace precis {
namespace {

constexpr uint32_t kCharacters = 256 + 68;  // 68 bytes have a character of their own above U+00FF

// A byte that is a visible character of Latin-1 stands for itself.
bool IsVisible(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// All characters of the alphabet are below U+0800.
std::string Utf8(uint32_t character) {
  if (character < 0x80) return {static_cast<char>(character)};
  return {static_cast<char>(0xC0 | (character >> 6)), static_cast<char>(0x80 | (character & 0x3F))};
}

struct Alphabet {
  std::array<std::string, 256> of_byte;
  std::array<uint8_t, kCharacters> byte_of = {};
  std::array<bool, kCharacters> known = {};
};

Alphabet MakeAlphabet() {
  Alphabet out;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint32_t character = IsVisible(byte) ? byte : next++;
    out.of_byte[byte] = Utf8(character);
    out.byte_of[character] = static_cast<uint8_t>(byte);
    out.known[character] = true;
  }
  return out;
}

const Alphabet& GetAlphabet() {
  static const Alphabet alphabet = MakeAlphabet();
  return alphabet;
}

}  // namespace

const std::array<std::string, 256>& ByteCharacters() { return GetAlphabet().of_byte; }

std::string BytesOfPiece(std::string_view piece) {
  const Alphabet& alphabet = GetAlphabet();
  std::string bytes;
  for (size_t i = 0; i < piece.size(); ++i) {
    uint32_t character = static_cast<uint8_t>(piece[i]);
    if (character >= 0x80) {
      if (character < 0xC0 || character >= 0xE0 || i + 1 == piece.size()) return std::string(piece);
      character = ((character & 0x1F) << 6) | (static_cast<uint8_t>(piece[++i]) & 0x3F);
    }
    if (character >= kCharacters || !alphabet.known[character]) return std::string(piece);
    bytes.push_back(static_cast<char>(alphabet.byte_of[character]));
  }
  return bytes;
}

}  // namespace precis
