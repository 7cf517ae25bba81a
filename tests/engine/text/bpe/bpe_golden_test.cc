// Ids and texts of BART's byte-level BPE, by transformers 5.5.4 (tests/golden/bart_cases.json).
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "engine/text/sentence_ends.h"
#include "engine/text/stop_strings.h"
#include "engine/text/tokenizer.h"
#include "engine/text/unicode/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kVocabulary = 606;
constexpr const char* kFromVocab = "tests/golden/families/bart_cnn";
constexpr const char* kFromJson = "tests/golden/families/distilbart";

const json& Cases() {
  static const json cases = [] {
    std::ifstream file("tests/golden/bart_cases.json");
    return json::parse(file);
  }();
  return cases;
}

// Of a list of ids, a delta at a time.
std::string Streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const std::string delta = decoder.Push(id);
    EXPECT_FALSE(FindBrokenUtf8(delta)) << "whole UTF-8";
    text += delta;
  }
  return text + decoder.Finish();
}

// Both kinds of files say the same tokenizer.
class BartTokenizer : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(GetParam(), kVocabulary);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  std::vector<int32_t> Ids(std::string_view text) const {
    auto ids = tokenizer_->Encode(text);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return std::move(ids).value();
  }
  int32_t IdOf(std::string_view text) const {
    const std::vector<int32_t> ids = Ids(text);
    EXPECT_EQ(ids.size(), 1u) << text;
    return ids[0];
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(BartTokenizer, EncodesAsTransformers) {
  const json& cases = Cases()["encode"];
  ASSERT_EQ(cases.size(), 553u);
  for (const json& c : cases) {
    const std::vector<int32_t> ids = Ids(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<std::vector<int32_t>>()) << c["text"];
    EXPECT_EQ(tokenizer_->Decode(ids), c["decoded"].get<std::string>()) << c["text"];
    EXPECT_EQ(Streamed(*tokenizer_, ids), c["decoded"].get<std::string>()) << c["text"];
  }
}

TEST_P(BartTokenizer, DecodesAsTransformers) {
  const json& cases = Cases()["decode"];
  ASSERT_EQ(cases.size(), 335u);
  for (const json& c : cases) {
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer_->Decode(ids), c["text"].get<std::string>()) << c["ids"];
    EXPECT_EQ(Streamed(*tokenizer_, ids), c["text"].get<std::string>()) << c["ids"];
  }
}

TEST_P(BartTokenizer, ReadsTheTextsOfTheModelsFixture) {
  std::ifstream file(std::string(GetParam()) + "/golden.json");
  const json golden = json::parse(file);
  size_t checked = 0;
  for (const json& c : golden["cases"]) {
    if (!c.contains("text") || !c["text"].is_string()) continue;
    std::vector<int32_t> ids = {0};
    for (const int32_t id : Ids(c["text"].get<std::string>())) ids.push_back(id);
    if (c.contains("max_source_length") && c["max_source_length"].is_number()) {
      ids.resize(std::min<size_t>(ids.size(), c["max_source_length"].get<size_t>() - 1));
    }
    ids.push_back(2);
    EXPECT_EQ(ids, c["input_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer_->Decode(c["greedy_ids"].get<std::vector<int32_t>>()),
              c["summary"].get<std::string>());
    ++checked;
  }
  EXPECT_GT(checked, 0u);
}

TEST_P(BartTokenizer, SaysWhatStandsAroundASource) {
  EXPECT_THAT(tokenizer_->source_prefix(), ElementsAre(0));
  EXPECT_EQ(tokenizer_->end_id(), 2);
  EXPECT_EQ(tokenizer_->num_pieces(), 606u);
  EXPECT_EQ(tokenizer_->source(), GetParam() == std::string_view(kFromJson)
                                      ? "tokenizer.json"
                                      : "vocab.json and merges.txt");
}

TEST_P(BartTokenizer, TextNeverBecomesASpecialToken) {
  for (const char* text : {"<s>", "</s>", "<pad>", "<unk>", "<mask>", "a <mask> b"}) {
    const std::vector<int32_t> ids = Ids(text);
    for (const int32_t id : ids) EXPECT_TRUE(id > 3 && id != 605) << text << " " << id;
    EXPECT_EQ(tokenizer_->Decode(ids), text);
  }
}

TEST_P(BartTokenizer, SpecialTokensAndIdsWithoutAPieceDecodeToNothing) {
  const int32_t a = IdOf("a");
  EXPECT_EQ(tokenizer_->Decode(std::vector<int32_t>{2, 0, a, 3, 605, 1, 606, 7000, -1, a, 2}),
            "aa");
}

TEST_P(BartTokenizer, RefusesBrokenUtf8) {
  const Status status = tokenizer_->Encode("ab\xFF").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("not UTF-8 at byte 2"));
}

TEST_P(BartTokenizer, WhiteSpaceAloneIsBlank) {
  for (const char* text : {"", " \t\r\n", "\xC2\xA0\xE3\x80\x80"}) {
    EXPECT_TRUE(tokenizer_->IsBlank(text));
  }
  EXPECT_FALSE(tokenizer_->IsBlank("  ."));
}

TEST_P(BartTokenizer, DeltasAreWholeCharacters) {
  const std::vector<int32_t> euro = Ids("\xE2\x82\xAC");
  ASSERT_EQ(euro.size(), 3u) << "no piece of this vocabulary has it";
  StreamDecoder decoder(*tokenizer_);
  EXPECT_EQ(decoder.Push(euro[0]), "");
  EXPECT_EQ(decoder.Push(euro[1]), "");
  EXPECT_EQ(decoder.Push(0), "") << "a special token does not break a character";
  EXPECT_EQ(decoder.Push(euro[2]), "\xE2\x82\xAC");
  EXPECT_EQ(decoder.Push(euro[0]), "");
  EXPECT_EQ(decoder.Push(euro[1]), "");
  EXPECT_EQ(decoder.Push(IdOf("a")),
            "\xEF\xBF\xBD"
            "a")
      << "one for both bytes, as in Python";
  EXPECT_EQ(decoder.Push(euro[1]), "\xEF\xBF\xBD") << "it cannot begin a character";
  EXPECT_EQ(decoder.Push(euro[0]), "");
  EXPECT_EQ(decoder.Finish(), "\xEF\xBF\xBD");
}

TEST_P(BartTokenizer, StopStringsEndBetweenCharacters) {
  StreamDecoder decoder(*tokenizer_);
  const std::vector<std::string> stops = {"\xC3\xA9."};
  StopMatcher search(stops);
  std::string text;
  for (const int32_t id : Ids("caf\xC3\xA9. Tea")) {
    text += search.Push(decoder.Push(id));
    if (search.stopped()) break;
  }
  EXPECT_TRUE(search.stopped());
  EXPECT_EQ(text, "caf");
}

TEST_P(BartTokenizer, WindowsAreCutBetweenSentencesAndWords) {
  const std::string text = "One ends. The \xE2\x82\xAC";
  const std::vector<int32_t> ids = Ids(text);
  const std::vector<Boundary> before = FindBoundaries(*tokenizer_, ids);
  ASSERT_EQ(before.size(), ids.size());
  std::vector<std::string> marked;
  for (size_t i = 0; i < ids.size(); ++i) {
    const char mark = "ipws"[static_cast<size_t>(before[i])];
    marked.push_back(mark + tokenizer_->Decode(std::vector{ids[i]}));
  }
  EXPECT_THAT(marked, ElementsAre("pO", "pne", "w en", "pds", "p.", "s ", "pThe", "w ",
                                  "p\xEF\xBF\xBD", "i\xEF\xBF\xBD", "i\xEF\xBF\xBD"));
}

INSTANTIATE_TEST_SUITE_P(Files, BartTokenizer, testing::Values(kFromVocab, kFromJson),
                         [](const auto& kind) {
                           return kind.index == 0 ? "VocabAndMerges" : "TokenizerJson";
                         });

}  // namespace
}  // namespace precis
