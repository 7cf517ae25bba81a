#include "engine/model/checkpoint/safetensors_header.h"

#include <random>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kGood[] =
    R"({"__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
        "a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}   )";

std::string ErrorOf(std::string_view header, uint64_t data_bytes = 8) {
  const auto parsed = ParseSafetensorsHeader(header, data_bytes);
  EXPECT_FALSE(parsed.ok()) << header;
  const std::string message(parsed.status().message());
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  return message;
}

// A header of the one tensor "t" of 8 bytes with one value replaced.
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"t": {"dtype": )" + dtype + R"(, "shape": )" + shape + R"(, "data_offsets": )" +
         offsets + "}}";
}

TEST(SafetensorsHeader, ReadsTensorsSortedByName) {
  const auto parsed = ParseSafetensorsHeader(kGood, 32);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_THAT(*parsed, SizeIs(2));
  EXPECT_EQ((*parsed)[0].name, "a");
  EXPECT_EQ((*parsed)[0].dtype, StoredType::kBf16);
  EXPECT_EQ((*parsed)[1].name, "b");
  EXPECT_EQ((*parsed)[1].begin, 8u);
  EXPECT_EQ((*parsed)[1].num_bytes(), 24u);
  EXPECT_THAT((*parsed)[1].shape, ::testing::ElementsAre(2, 3));
}

TEST(SafetensorsHeader, TakesAnEmptyFileAndScalarsAndEmptyTensors) {
  EXPECT_THAT(*ParseSafetensorsHeader("{}", 0), IsEmpty());
  EXPECT_TRUE(ParseSafetensorsHeader(One("\"F32\"", "[]", "[0, 4]"), 4).ok());
  EXPECT_TRUE(ParseSafetensorsHeader(One("\"F32\"", "[5, 0]", "[0, 0]"), 0).ok());
  EXPECT_TRUE(ParseSafetensorsHeader(One("\"I64\"", "[1]", "[0, 8]"), 8).ok());
}

TEST(SafetensorsHeader, RefusesWhatIsNoHeader) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(ErrorOf("{"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(ErrorOf("{} {}"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(ErrorOf("{\"a\xff\": 1}"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("a list where none belongs"));
  EXPECT_THAT(ErrorOf("3"), HasSubstr("a number where none belongs"));
  EXPECT_THAT(ErrorOf("null"), HasSubstr("null where none belongs"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '[')), HasSubstr("a list where none belongs"));
  EXPECT_THAT(ErrorOf(R"({"t": [1]})"), HasSubstr("t: a list where none belongs"));
  EXPECT_THAT(ErrorOf(R"({"t": {"dtype": {"x": {}}}})"), HasSubstr("t: an object where none"));
  EXPECT_THAT(ErrorOf(R"({"__metadata__": {"x": [1]}})"), HasSubstr("a list where none belongs"));
  EXPECT_THAT(ErrorOf(R"({"__metadata__": {}, "__metadata__": {}})"), HasSubstr("there twice"));
}

TEST(SafetensorsHeader, RefusesIncompleteAndStrangeTensors) {
  EXPECT_THAT(ErrorOf(R"({"t": {"dtype": "F32", "shape": [2]}})"), HasSubstr("t: lacks one of"));
  EXPECT_THAT(ErrorOf(R"({"t": {}})"), HasSubstr("t: lacks one of"));
  EXPECT_THAT(ErrorOf(R"({"t": {"dtype": "F32", "dtype": "F16"}})"),
              HasSubstr("t: key \"dtype\" is said twice"));
  EXPECT_THAT(ErrorOf(R"({"t": {"color": "red"}})"), HasSubstr("t: unknown key \"color\""));
  EXPECT_THAT(ErrorOf(One("\"F31\"", "[2]", "[0, 8]")), HasSubstr("t: dtype \"F31\" is unknown"));
  EXPECT_THAT(ErrorOf(One("4", "[2]", "[0, 8]")), HasSubstr("t: a number where none belongs"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[2.0]", "[0, 8]")),
              HasSubstr("t: a number that is not whole"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[-2]", "[0, 8]")), HasSubstr("t: a negative number"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[2]", "[0]")), HasSubstr("t: data_offsets is no pair"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[2]", "[0, 8, 8]")), HasSubstr("t: data_offsets is no pair"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[2]", "[8, 0]")),
              HasSubstr("t: data_offsets [8, 0] end before"));
  EXPECT_THAT(ErrorOf(R"({"bad\nname": {}})"), HasSubstr("bad\\nname: lacks"))
      << "a name cannot break the line";
}

TEST(SafetensorsHeader, RefusesShapesThatDoNotMatchTheirBytes) {
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[3]", "[0, 8]")),
              HasSubstr("t: shape and dtype F32 need 12 bytes, data_offsets have 8"));
  EXPECT_THAT(ErrorOf(One("\"F16\"", "[2]", "[0, 8]")), HasSubstr("need 4 bytes"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[4294967296, 4294967296, 2]", "[0, 8]")),
              HasSubstr("t: shape has more bytes than 64 bits count"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[4611686018427387904, 2]", "[0, 8]")),
              HasSubstr("t: shape has more bytes than 64 bits count"))
      << "whose product is 0 in 64 bits";
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[18446744073709551615]", "[0, 8]")),
              HasSubstr("t: shape too large"));
  EXPECT_THAT(ErrorOf(One("\"F32\"", "[99999999999999999999]", "[0, 8]")),
              HasSubstr("t: a number that is not whole"));
}

std::string Two(const std::string& first, const std::string& second) {
  return R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": )" + first +
         R"(}, "b": {"dtype": "F32", "shape": [1], "data_offsets": )" + second + "}}";
}

TEST(SafetensorsHeader, RefusesOffsetsThatDoNotTileTheData) {
  EXPECT_TRUE(ParseSafetensorsHeader(Two("[4, 8]", "[0, 4]"), 8).ok()) << "any order in the JSON";
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[2, 6]")), HasSubstr("b: data begin at 2, inside another"));
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[0, 4]")), HasSubstr("data begin at 0, inside another"));
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[5, 9]"), 9), HasSubstr("b: data begin at 5, after a hole"));
  EXPECT_THAT(ErrorOf(Two("[1, 5]", "[5, 9]"), 9), HasSubstr("a: data begin at 1, after a hole"));
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[4, 8]"), 9), HasSubstr("header covers 8 of 9 bytes"));
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[4, 8]"), 7),
              HasSubstr("b: data_offsets [4, 8] reach beyond"));
  EXPECT_THAT(ErrorOf(Two("[0, 4]", "[18446744073709551611, 18446744073709551615]")),
              HasSubstr("reach beyond the 8 bytes"));
  EXPECT_THAT(ErrorOf("{}", 1), HasSubstr("header covers 0 of 1 bytes"));
}

TEST(SafetensorsHeader, RefusesANameSaidTwice) {
  EXPECT_THAT(ErrorOf(R"({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                          "t": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})"),
              HasSubstr("t: is in the header twice"));
}

// Whatever bytes come, the answer is entries that keep every promise or one line of error. Under
// ASan and UBSan this is the crash test.
TEST(SafetensorsHeader, SurvivesRandomMutations) {
  std::mt19937 rng(20240917);
  const std::string good = kGood;
  const std::string alphabet = "{}[]:,\"0123456789-.eE+ntf\\ \xff\x80";
  size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string header = good;
    const size_t edits = 1 + rng() % 4;
    for (size_t i = 0; i < edits && !header.empty(); ++i) {
      const size_t at = rng() % header.size();
      const unsigned what = rng() % 4;
      if (what == 0) header[at] = static_cast<char>(rng());
      if (what == 1) header[at] = alphabet[rng() % alphabet.size()];
      if (what == 2) header.erase(at, 1 + rng() % 8);
      if (what == 3) header.insert(at, header.substr(rng() % header.size(), rng() % 16));
    }
    const auto parsed = ParseSafetensorsHeader(header, 32);
    if (!parsed.ok()) {
      ASSERT_THAT(std::string(parsed.status().message()), Not(IsEmpty()));
      continue;
    }
    ++accepted;
    uint64_t covered = 0;
    for (const TensorEntry& entry : *parsed) {
      ASSERT_LE(entry.end, 32u);
      covered += entry.num_bytes();
    }
    ASSERT_EQ(covered, 32u) << header;
  }
  EXPECT_GT(accepted, 100u) << "some edits change only names and spaces";
}

}  // namespace
}  // namespace precis
