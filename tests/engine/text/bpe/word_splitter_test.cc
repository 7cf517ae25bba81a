// Words as GPT-2's regular expression has them.
#include "engine/text/bpe/word_splitter.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;

std::vector<std::string> Words(std::string_view text) {
  static const WordSplitter splitter;
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t length = splitter.FirstWord(text);
    out.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

TEST(WordSplitter, KindsOfCharacters) {
  EXPECT_THAT(Words("It cost 30x, ok?!"), ElementsAre("It", " cost", " 30", "x", ",", " ok", "?!"));
  EXPECT_THAT(Words("caf\u00E9 \u00B2\u00BD_\u65E5"),
              ElementsAre("caf\u00E9", " \u00B2\u00BD", "_", "\u65E5"));
}

TEST(WordSplitter, ContractionsAreOfSmallLettersAndOfThatApostrophe) {
  EXPECT_THAT(Words("we'll've"), ElementsAre("we", "'ll", "'ve"));
  EXPECT_THAT(Words("WE'LL"), ElementsAre("WE", "'", "LL"));
  EXPECT_THAT(Words("it\u2019s 'tis"), ElementsAre("it", "\u2019", "s", " '", "tis"));
  EXPECT_THAT(Words("'than"), ElementsAre("'t", "han"));
}

TEST(WordSplitter, WhiteSpaceLeavesItsLastCharacterToTheWord) {
  EXPECT_THAT(Words("a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(Words("a\n\nb"), ElementsAre("a", "\n", "\n", "b"));
  EXPECT_THAT(Words("a \u00A0b"), ElementsAre("a", " ", "\u00A0", "b"));
  EXPECT_THAT(Words("a\nb"), ElementsAre("a", "\n", "b"));
  EXPECT_THAT(Words("a \u3000 "), ElementsAre("a", " \u3000 "));
}

TEST(WordSplitter, LongRunsAreOneWord) {
  for (const char c : {'a', '1', '.', '\n'}) {
    const std::string text(1 << 20, c);
    EXPECT_EQ(Words(text).size(), 1u);
    EXPECT_EQ(Words(text + "x").size(), c == 'a' ? 1u : c == '\n' ? 3u : 2u);
  }
}

}  // namespace
}  // namespace precis
