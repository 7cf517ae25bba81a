// What merges make of a word, and that no text makes them slow.
#include "engine/text/bpe/merge_table.h"

#include <array>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;

// The piece of each byte has its number; others follow from 256 on.
MergeTable Bytes() {
  std::array<uint32_t, 256> pieces = {};
  for (uint32_t byte = 0; byte < 256; ++byte) pieces[byte] = byte;
  return MergeTable(pieces);
}

std::vector<int32_t> Encode(const MergeTable& table, std::string_view word) {
  std::vector<int32_t> ids;
  MergeTable::Scratch scratch;
  table.Encode(word, &scratch, &ids);
  return ids;
}

TEST(MergeTable, TheFirstOfTheListGoesBeforeTheLeftmost) {
  MergeTable table = Bytes();
  table.Add('b', 'c', 256);
  table.Add('a', 'b', 257);
  table.Add(257, 'd', 258);
  EXPECT_THAT(Encode(table, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(Encode(table, "abd"), ElementsAre(258));
  EXPECT_THAT(Encode(table, "abab"), ElementsAre(257, 257));
  EXPECT_THAT(Encode(table, ""), ElementsAre());
  EXPECT_THAT(Encode(table, "x"), ElementsAre('x'));
}

TEST(MergeTable, EqualPairsAreMergedFromTheLeft) {
  MergeTable table = Bytes();
  table.Add('a', 'a', 256);
  EXPECT_THAT(Encode(table, "aaa"), ElementsAre(256, 'a'));
  table.Add(256, 'a', 257);
  EXPECT_THAT(Encode(table, "aaaaa"), ElementsAre(256, 257));
}

TEST(MergeTable, AMergeThatComesUpLaterButStandsEarlierGoesFirst) {
  MergeTable table = Bytes();
  table.Add(256, 'c', 257);
  table.Add('a', 'b', 256);
  EXPECT_THAT(Encode(table, "abcab"), ElementsAre(257, 256));
}

TEST(MergeTable, OfAPairThatIsThereTwiceTheLaterCounts) {
  MergeTable table = Bytes();
  table.Add('a', 'b', 256);
  table.Add('b', 'c', 257);
  table.Add('a', 'b', 256);
  EXPECT_THAT(Encode(table, "abc"), ElementsAre('a', 257));
}

// The worst that there is: one word, in which everything merges. Steps are counted, not seconds.
TEST(MergeTable, StepsAreLinearInTheWord) {
  MergeTable table = Bytes();
  uint32_t longest = 'a';
  for (uint32_t i = 0; i < 16; ++i) {  // aa, aaaa, ..
    table.Add(longest, longest, 256 + i);
    longest = 256 + i;
  }
  table.Add('a', 'b', 300);
  table.Add('b', 'a', 301);
  table.Add(300, 'a', 302);
  table.Add(301, 'b', 303);
  std::string alternating;
  for (int i = 0; i < 1 << 17; ++i) alternating += "ab";
  const std::string same(1 << 18, 'a');
  for (const std::string& word : {alternating, same}) {
    MergeTable::Scratch scratch;
    std::vector<int32_t> ids;
    table.Encode(word, &scratch, &ids);
    EXPECT_LT(scratch.merges_tried, 3 * word.size());
    EXPECT_LE(ids.size(), word.size());
    EXPECT_LE(scratch.heap.capacity(), 4 * word.size()) << "memory";
  }
  EXPECT_EQ(Encode(table, same), std::vector<int32_t>(4, static_cast<int32_t>(longest)));
}

}  // namespace
}  // namespace precis
