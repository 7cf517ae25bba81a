// Cutting long sources: positions alone, then places to cut in real text.
#include "engine/text/windows.h"

#include <algorithm>
#include <random>
#include <string>

#include "engine/text/sentence_ends.h"
#include "engine/text/tokenizer.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

std::vector<Boundary> Pieces(size_t n) { return std::vector<Boundary>(n, Boundary::kPiece); }

TEST(SplitWindows, OneWindowHoldsWhatFits) {
  EXPECT_EQ(SplitWindows(Pieces(10), 10, 2), (std::vector<WindowRange>{{0, 10}}));
  EXPECT_EQ(SplitWindows(Pieces(1), 10, 2), (std::vector<WindowRange>{{0, 1}}));
  EXPECT_TRUE(SplitWindows({}, 10, 2).empty());
}

TEST(SplitWindows, WithoutBoundariesCutsAtFixedPositions) {
  const auto windows = SplitWindows(Pieces(1000), 100, 12);
  for (size_t i = 0; i + 2 < windows.size(); ++i) {
    EXPECT_EQ(windows[i], (WindowRange{i * 88, i * 88 + 100}));
  }
}

TEST(SplitWindows, TheLastTwoShareWhatIsLeft) {
  for (size_t n = 101; n <= 188; ++n) {
    const auto windows = SplitWindows(Pieces(n), 100, 12);
    ASSERT_EQ(windows.size(), 2u) << n;
    EXPECT_LE(windows[0].size() > windows[1].size() ? windows[0].size() - windows[1].size()
                                                    : windows[1].size() - windows[0].size(),
              25u)
        << n;
  }
}

TEST(SplitWindows, EndsWithASentenceWhereOneIsInReach) {
  std::vector<Boundary> before = Pieces(300);
  for (size_t i = 0; i < before.size(); i += 3) before[i] = Boundary::kWord;
  before[83] = before[91] = Boundary::kSentence;
  const auto windows = SplitWindows(before, 100, 12);
  EXPECT_EQ(windows[0].end, 91u);
  EXPECT_EQ(windows[1].begin, 83u) << "the overlap begins with a sentence, too";
}

TEST(SplitWindows, EndsBetweenWordsWhereNoSentenceEnds) {
  std::vector<Boundary> before = Pieces(300);
  before[97] = Boundary::kWord;
  before[40] = Boundary::kSentence;  // too far back: it would cost windows
  EXPECT_EQ(SplitWindows(before, 100, 12)[0].end, 97u);
}

TEST(SplitWindows, CoversEveryTokenInOrderWhateverTheBoundaries) {
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    const size_t n = 1 + random() % 200;
    const size_t window = 1 + random() % 60;
    const size_t overlap = random() % 40;
    std::vector<Boundary> before;
    for (size_t i = 0; i < n; ++i) {
      before.push_back(static_cast<Boundary>(random() % (1 + random() % 3)));
    }
    const auto windows = SplitWindows(before, window, overlap);
    ASSERT_EQ(windows.front().begin, 0u);
    ASSERT_EQ(windows.back().end, n);
    for (size_t i = 0; i < windows.size(); ++i) {
      ASSERT_GE(windows[i].size(), 1u);
      ASSERT_LE(windows[i].size(), window);
      if (i == 0) continue;
      ASSERT_GT(windows[i].begin, windows[i - 1].begin);
      ASSERT_GT(windows[i].end, windows[i - 1].end);
      ASSERT_LE(windows[i].begin, windows[i - 1].end) << "a token is in no window";
      ASSERT_LE(windows[i - 1].end - windows[i].begin, overlap);
    }
  }
}

TEST(EndsSentence, KnowsMarksClosersAndAbbreviations) {
  for (const char* word : {"end.", "Really?", "Stop!", "end.\"", "(end.)", "1984.", "wait...",
                           "\xE5\xAE\x8C\xE3\x80\x82"}) {
    EXPECT_TRUE(EndsSentence(word, "The")) << word;
    EXPECT_TRUE(EndsSentence(word, "")) << word;
  }
  for (const char* word : {"end", "Dr.", "(e.g.", "J.", "vs.", "end,", "end:"}) {
    EXPECT_FALSE(EndsSentence(word, "The")) << word;
  }
  EXPECT_FALSE(EndsSentence("end.", "and")) << "no sentence begins in lower case";
  EXPECT_TRUE(EndsSentence("No.", "The"));
  EXPECT_FALSE(EndsSentence("No.", "17"));
}

class Boundaries : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load("tests/golden/wgqa_g2", 544);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  // The text cut at each boundary of at least this rank.
  std::vector<std::string> Cut(const std::string& text, Boundary least) {
    const std::vector<int32_t> ids = tokenizer_->Encode(text).value();
    const std::vector<Boundary> before = FindBoundaries(*tokenizer_, ids);
    EXPECT_EQ(before.size(), ids.size());
    std::vector<std::string> out;
    size_t begin = 0;
    for (size_t i = 1; i <= ids.size(); ++i) {
      if (i < ids.size() && before[i] < least) continue;
      out.push_back(tokenizer_->Decode(std::span(ids).subspan(begin, i - begin)));
      begin = i;
    }
    return out;
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(Boundaries, AreFoundBetweenSentences) {
  EXPECT_EQ(Cut("The ferry was late. Mr. Smith was not. He (J. Smith) waited! Did he! yes",
                Boundary::kSentence),
            (std::vector<std::string>{"The ferry was late.", "Mr. Smith was not.",
                                      "He (J. Smith) waited!", "Did he! yes"}));
}

TEST_F(Boundaries, AreFoundBetweenWords) {
  EXPECT_EQ(Cut("The ferry was late.", Boundary::kWord),
            (std::vector<std::string>{"The", "ferry", "was", "late."}));
}

TEST_F(Boundaries, AreLinearInTheText) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "aaaaaaaaaaaaaaaaaaaa";  // 2 MB, one word
  const std::vector<int32_t> ids = tokenizer_->Encode(text).value();
  const std::vector<Boundary> before = FindBoundaries(*tokenizer_, ids);
  EXPECT_EQ(std::count(before.begin(), before.end(), Boundary::kPiece),
            static_cast<std::ptrdiff_t>(ids.size()));
}

}  // namespace
}  // namespace precis
