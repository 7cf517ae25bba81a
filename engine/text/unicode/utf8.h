// UTF-8: where text is broken, and how long a character is.
// Called by engine/text, and by whoever must refuse broken text. Thread rule: functions of their
// arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace precis {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the well-formed character at the start of `text`; 0 if there is none. Overlong forms,
// surrogates and anything above U+10FFFF are not well-formed.
size_t Utf8CharLength(std::string_view text);

// Offset of the last character of well-formed `text`; its size if it is empty.
size_t LastCharacter(std::string_view text);

// Offset of the first byte that is not part of a well-formed character.
std::optional<size_t> FindBrokenUtf8(std::string_view text);

// Whether more bytes could make a well-formed character of `text` (which is not one yet).
bool IsUtf8CharPrefix(std::string_view text);

// Moves the whole characters at the start of `pending` to the end of `out`; what cannot be part of
// one becomes `for_broken`, a byte at a time. What may yet become a character stays, unless `all`.
void TakeCharacters(bool all, std::string_view for_broken, std::string* pending, std::string* out);

// The same, but bytes that could have begun a character become U+FFFD together: what Python's
// bytes.decode(errors="replace") and Rust's from_utf8_lossy do.
void TakeCharactersAsPython(bool all, std::string* pending, std::string* out);

// Whether `text` is one character of Unicode's White_Space property.
bool IsUnicodeWhitespace(std::string_view text);

// Whether there is nothing in well-formed `text` but such characters.
bool IsOnlyWhitespace(std::string_view text);

inline bool IsUtf8Continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

}  // namespace precis
