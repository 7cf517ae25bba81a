#include "engine/text/stop_strings.h"

#include <random>
#include <string>
#include <vector>

#include "engine/text/unicode/utf8.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using Strings = std::vector<std::string>;

// Pushes the deltas one by one; returns what was given out at each.
Strings PushAll(StopMatcher* matcher, const Strings& deltas) {
  Strings out;
  for (const std::string& delta : deltas) out.push_back(matcher->Push(delta));
  return out;
}

TEST(StopStrings, WithoutStopsTextPassesThrough) {
  StopMatcher matcher({});
  EXPECT_EQ(PushAll(&matcher, {"a", "", "é😀"}), (Strings{"a", "", "é😀"}));
  EXPECT_EQ(matcher.Finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopStrings, EmptyStopStringsNeverMatch) {
  StopMatcher matcher({"", "x"});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Push("dx"), "d");
  EXPECT_EQ(matcher.found(), 1u);
}

TEST(StopStrings, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"\n\n"});
  EXPECT_EQ(PushAll(&matcher, {"one\n", "two\n", "\nthree"}), (Strings{"one", "\ntwo", ""}));
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopStrings, FinishReleasesWhatWasHeldBack) {
  StopMatcher matcher({"STOP"});
  EXPECT_EQ(matcher.Push("the STO"), "the ");
  EXPECT_EQ(matcher.Finish(), "STO");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopStrings, AStopMaySpanManyPieces) {
  StopMatcher matcher({"END OF TEXT"});
  EXPECT_EQ(PushAll(&matcher, {"x E", "N", "D", " O", "F TE", "XT y"}),
            (Strings{"x ", "", "", "", "", ""}));
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopStrings, AFailedBeginningMayHoldAnotherBeginning) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(PushAll(&matcher, {"a", "a", "a", "b"}), (Strings{"", "", "a", ""}));
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopStrings, TheFirstCompleteStopCounts) {
  StopMatcher nested({"abcde", "cd"});
  EXPECT_EQ(nested.Push("xabcdef"), "xab");
  EXPECT_EQ(nested.found(), 1u);
  // Both end at the same byte: the one that began first.
  StopMatcher same_end({"c", "abc"});
  EXPECT_EQ(same_end.Push("xabc"), "x");
  EXPECT_EQ(same_end.found(), 1u);
  StopMatcher shorter_prefix({"abc", "ab"});
  EXPECT_EQ(shorter_prefix.Push("xabc"), "x");
  EXPECT_EQ(shorter_prefix.found(), 1u);
}

TEST(StopStrings, EqualStopsReportTheFirst) {
  StopMatcher matcher({"x", "x"});
  EXPECT_EQ(matcher.Push("abx"), "ab");
  EXPECT_EQ(matcher.found(), 0u);
}

TEST(StopStrings, HeldBackTextNeverSplitsACharacter) {
  // "é" and "è" share their first byte; so do all emoji.
  StopMatcher matcher({"è!", "\xF0\x9F\x98\x80"});
  EXPECT_EQ(matcher.Push("café"), "café");
  EXPECT_EQ(matcher.Push("è"), "");
  EXPECT_EQ(matcher.Push("😁"), "è😁");
  EXPECT_EQ(matcher.Push("a😀b"), "a");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopStrings, AStopThatStartsInsideACharacterStillGivesWholeOnes) {
  StopMatcher matcher({"\xA9"});  // the second byte of é; no valid request has it
  EXPECT_EQ(matcher.Push("aé"), "a");
  EXPECT_TRUE(matcher.stopped());
}

// The definition, written down plainly.
std::string CutByDefinition(const std::string& text, const Strings& stops, bool* stopped) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t begin = std::string::npos;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) {
        begin = std::min(begin, end - stop.size());
      }
    }
    if (begin == std::string::npos) continue;
    *stopped = true;
    return text.substr(0, begin);
  }
  *stopped = false;
  return text;
}

TEST(StopStrings, DeltasJoinedAreTheTextCutHoweverItIsSplit) {
  std::mt19937 random(7);
  const auto below = [&random](size_t n) { return static_cast<size_t>(random() % n); };
  const Strings letters = {"a", "b", "é", "è", "日"};
  const auto word = [&](size_t most) {
    std::string out;
    for (size_t n = 1 + below(most); n > 0; --n) out += letters[below(letters.size())];
    return out;
  };
  size_t stops_found = 0;
  for (int i = 0; i < 20000; ++i) {
    Strings stops(1 + below(3));
    for (std::string& stop : stops) stop = word(4);
    StopMatcher matcher(stops);
    std::string all, given;
    for (size_t n = below(8); n > 0; --n) {
      const std::string delta = word(5);
      all += delta;
      const std::string out = matcher.Push(delta);
      ASSERT_FALSE(FindBrokenUtf8(out)) << i;
      given += out;
    }
    given += matcher.Finish();
    bool stopped = false;
    ASSERT_EQ(given, CutByDefinition(all, stops, &stopped)) << i;
    ASSERT_EQ(matcher.stopped(), stopped) << i;
    stops_found += stopped;
  }
  EXPECT_GT(stops_found, 5000u);
  EXPECT_LT(stops_found, 19000u);
}

}  // namespace
}  // namespace precis
