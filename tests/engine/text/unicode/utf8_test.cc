#include "engine/text/unicode/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(Utf8, WholeTextIsWhole) {
  EXPECT_EQ(FindBrokenUtf8(""), std::nullopt);
  EXPECT_EQ(FindBrokenUtf8(std::string_view("a\0b", 3)), std::nullopt);
  EXPECT_EQ(FindBrokenUtf8("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"),
            std::nullopt);
  EXPECT_EQ(FindBrokenUtf8("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"), std::nullopt);
}

TEST(Utf8, BrokenTextNamesItsFirstBrokenByte) {
  const std::string_view broken[] = {
      "\x80",              // a continuation alone
      "\xC0\xAF",          // overlong
      "\xC1\xBF",          // overlong
      "\xE0\x9F\xBF",      // overlong
      "\xF0\x8F\xBF\xBF",  // overlong
      "\xED\xA0\x80",      // a surrogate
      "\xED\xBF\xBF",      // a surrogate
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xF5\x80\x80\x80",  // above U+10FFFF
      "\xFE",
      "\xFF",
      "\xC3",  // cut short
      "\xE2\x82",
      "\xF0\x9F\x98",
      "\xC3(",
      "\xE2\x82(",
      "\xF0\x9F\x98(",
  };
  for (const std::string_view bytes : broken) {
    EXPECT_EQ(FindBrokenUtf8(bytes), 0u) << testing::PrintToString(bytes);
    EXPECT_EQ(FindBrokenUtf8("aé" + std::string(bytes) + "z"), 3u) << testing::PrintToString(bytes);
  }
}

TEST(Utf8, APrefixIsWhatMoreBytesCanComplete) {
  for (const std::string_view text : {"", "\xC3", "\xE2", "\xE2\x82", "\xF0\x9F\x98", "\xED\x9F"}) {
    EXPECT_TRUE(IsUtf8CharPrefix(text)) << testing::PrintToString(text);
  }
  for (const std::string_view text :
       {"a", "\xC3\xA9", "\x80", "\xED\xA0", "\xE2(", "\xF4\x90", "\xC0"}) {
    EXPECT_FALSE(IsUtf8CharPrefix(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8, WhatCouldHaveBegunACharacterIsReplacedTogether) {
  struct Case {
    std::string bytes;
    std::string text;  // by Python's bytes.decode("utf-8", "replace")
  };
  const std::string r(kReplacementCharacter);
  const Case cases[] = {
      {"\x80", r},
      {"\xC3", r},
      {"\xC3(", r + "("},
      {"\xC0\xAF", r + r},
      {"\xE2\x82", r},
      {"\xE2\x82(", r + "("},
      {"\xE2(\x82", r + "(" + r},
      {"\xED\xA0\x80", r + r + r},
      {"\xE0\x9F\xBF", r + r + r},
      {"\xF0\x9F\x98", r},
      {"\xF0\x9F\x98\xE2\x82\xAC", r + "\xE2\x82\xAC"},
      {"\xF0\x9F\xF0\x9F\x98\x80", r + "\xF0\x9F\x98\x80"},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xF5\x80\xFF", r + r + r},
      {"\xC3\xC3\xA9", r + "\xC3\xA9"},
  };
  for (const Case& c : cases) {
    std::string pending = c.bytes;
    std::string all;
    TakeCharactersAsPython(/*all=*/true, &pending, &all);
    EXPECT_EQ(all, c.text) << testing::PrintToString(c.bytes);
    EXPECT_EQ(pending, "");
    std::string streamed;
    for (const char byte : c.bytes) {
      pending.push_back(byte);
      TakeCharactersAsPython(/*all=*/false, &pending, &streamed);
      EXPECT_LT(pending.size(), 4u);
    }
    TakeCharactersAsPython(/*all=*/true, &pending, &streamed);
    EXPECT_EQ(streamed, c.text) << testing::PrintToString(c.bytes);
  }
}

TEST(Utf8, WhitespaceIsWhatUnicodeSays) {
  for (const std::string_view text :
       {" ", "\t", "\n", "\v", "\f", "\r", "\xC2\x85", "\xC2\xA0", "\u1680", "\u2000", "\u200A",
        "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"}) {
    EXPECT_TRUE(IsUnicodeWhitespace(text)) << testing::PrintToString(text);
  }
  for (const std::string_view text :
       {"", "a", "  ", "\x1C", "\u200B", "\u2060", "\uFEFF", "\u180E"}) {
    EXPECT_FALSE(IsUnicodeWhitespace(text)) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace precis
