#include "engine/text/unicode/utf8.h"

#include <algorithm>

namespace precis {
namespace {

uint8_t Byte(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// What may follow a lead byte (Unicode 15, table 3-7): the length, and the range of the second
// byte, which is where overlong forms, surrogates and too large values show.
struct Lead {
  size_t length = 0;  // 0: cannot start a character
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

// Bytes of `text` that agree with `lead`, up to its length.
size_t Agreeing(std::string_view text, const Lead& lead) {
  const size_t end = std::min(lead.length, text.size());
  if (end < 2) return end;
  if (Byte(text, 1) < lead.second_min || Byte(text, 1) > lead.second_max) return 1;
  size_t i = 2;
  while (i < end && IsUtf8Continuation(text[i])) ++i;
  return i;
}

// `broken_length`: of bytes that do not begin with a character, how many `for_broken` stands for.
template <typename Length>
void Take(bool all, std::string_view for_broken, const Length& broken_length, std::string* pending,
          std::string* out) {
  std::string_view bytes = *pending;
  while (!bytes.empty()) {
    const size_t length = Utf8CharLength(bytes);
    if (length == 0 && !all && IsUtf8CharPrefix(bytes)) break;
    out->append(length > 0 ? bytes.substr(0, length) : for_broken);
    bytes.remove_prefix(length > 0 ? length : broken_length(bytes));
  }
  pending->erase(0, pending->size() - bytes.size());
}

}  // namespace

size_t Utf8CharLength(std::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = LeadOf(Byte(text, 0));
  return Agreeing(text, lead) == lead.length ? lead.length : 0;
}

size_t LastCharacter(std::string_view text) {
  if (text.empty()) return 0;
  size_t at = text.size() - 1;
  while (at > 0 && IsUtf8Continuation(text[at])) --at;
  return at;
}

std::optional<size_t> FindBrokenUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const size_t length = Utf8CharLength(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

bool IsUnicodeWhitespace(std::string_view text) {
  if (text.size() == 1) return text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r');
  if (text.size() == 2) return text == "\xC2\x85" || text == "\xC2\xA0";
  if (text.size() != 3) return false;
  if (text.starts_with("\xE2\x80")) {  // U+2000..200A, 2028, 2029, 202F
    const uint8_t last = Byte(text, 2);
    return last <= 0x8A || last == 0xA8 || last == 0xA9 || last == 0xAF;
  }
  return text == "\xE1\x9A\x80" || text == "\xE2\x81\x9F" || text == "\xE3\x80\x80";
}

bool IsOnlyWhitespace(std::string_view text) {
  while (!text.empty()) {
    const size_t length = std::max<size_t>(Utf8CharLength(text), 1);
    if (!IsUnicodeWhitespace(text.substr(0, length))) return false;
    text.remove_prefix(length);
  }
  return true;
}

void TakeCharacters(bool all, std::string_view for_broken, std::string* pending, std::string* out) {
  Take(
      all, for_broken, [](std::string_view) { return size_t{1}; }, pending, out);
}

void TakeCharactersAsPython(bool all, std::string* pending, std::string* out) {
  const auto broken = [](std::string_view bytes) {
    return std::max<size_t>(Agreeing(bytes, LeadOf(Byte(bytes, 0))), 1);
  };
  Take(all, kReplacementCharacter, broken, pending, out);
}

bool IsUtf8CharPrefix(std::string_view text) {
  if (text.empty()) return true;
  const Lead lead = LeadOf(Byte(text, 0));
  return text.size() < lead.length && Agreeing(text, lead) == text.size();
}

}  // namespace precis
