// ByT5's bytes, by what transformers makes of them (tests/golden/make_byte_cases.py).
#include "engine/text/tokenizer.h"

#include <fstream>
#include <string>
#include <vector>

#include "engine/text/sentence_ends.h"
#include "engine/text/stop_strings.h"
#include "engine/text/unicode/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kVocabulary = 384;

// Of a directory with these files; null: not there.
StatusOr<std::unique_ptr<Tokenizer>> Load(const json& config, uint32_t vocab_size = kVocabulary,
                                          const json& model = nullptr) {
  const testing::TempDir dir;
  if (!config.is_null()) dir.Write("tokenizer_config.json", config.dump());
  if (!model.is_null()) dir.Write("config.json", model.dump());
  return Tokenizer::Load(dir.path(), vocab_size);
}

json Config() { return {{"tokenizer_class", "ByT5Tokenizer"}, {"extra_ids", 125}}; }

json WithAdded(const std::string& content, uint32_t id, const json& flags = json::object()) {
  json config = Config();
  json& token = config["added_tokens_decoder"][std::to_string(id)];
  token = {{"content", content}, {"special", false}, {"normalized", false}};
  token.update(flags);
  return config;
}

std::unique_ptr<Tokenizer> LoadOrDie(const json& config) {
  auto tokenizer = Load(config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return std::move(tokenizer).value();
}

std::string Refusal(const json& config, uint32_t vocab_size = kVocabulary) {
  return std::string(Load(config, vocab_size).status().message());
}

json Cases() {
  std::ifstream file("tests/golden/byte_cases.json");
  return json::parse(file);
}

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

void ExpectCases(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GE(cases["encode"].size(), 60u);
  for (const json& c : cases["encode"]) {
    const auto ids = tokenizer.Encode(c["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c["ids"].get<std::vector<int32_t>>()) << c["text"];
    EXPECT_EQ(tokenizer.Decode(*ids), c["text"].get<std::string>());
  }
  ASSERT_GE(cases["decode"].size(), 200u);
  for (const json& c : cases["decode"]) {
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.Decode(ids), c["text"].get<std::string>()) << c["ids"];
    EXPECT_EQ(Streamed(tokenizer, ids), c["text"].get<std::string>()) << c["ids"];
  }
}

TEST(ByteTokenizer, IsThatOfTransformers) {
  const auto tokenizer = LoadOrDie(Config());
  ExpectCases(*tokenizer, Cases()["plain"]);
  EXPECT_EQ(tokenizer->end_id(), 1);
  EXPECT_EQ(tokenizer->num_pieces(), 259u);
  EXPECT_EQ(tokenizer->source(), "bytes");
}

TEST(ByteTokenizer, CutsTextAtAddedTokens) {
  const json cases = Cases()["added"];
  json config = Config();
  for (const auto& [content, id] : cases["tokens"].items()) {
    config["added_tokens_decoder"][std::to_string(id.get<uint32_t>())] = {
        {"content", content}, {"special", false}, {"normalized", false}};
  }
  const auto tokenizer = Load(config, 400);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectCases(**tokenizer, cases);
}

TEST(ByteTokenizer, TextNeverBecomesAControlId) {
  const auto tokenizer = LoadOrDie(WithAdded("<sep>", 300, {{"special", true}}));
  for (const char* text : {"</s>", "<pad>", "<unk>", "<extra_id_0>", "<sep>"}) {
    const auto ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(ids->size(), std::string_view(text).size());
    EXPECT_EQ(tokenizer->Decode(*ids), text);
  }
}

TEST(ByteTokenizer, RefusesBrokenUtf8) {
  EXPECT_THAT(std::string(LoadOrDie(Config())->Encode("ab\xFF").status().message()),
              HasSubstr("not UTF-8 at byte 2"));
}

TEST(ByteTokenizer, WhiteSpaceAloneIsBlank) {
  const auto tokenizer = LoadOrDie(Config());
  for (const char* text : {"", " \t\r\n", "\xC2\xA0\xE3\x80\x80"}) {
    EXPECT_TRUE(tokenizer->IsBlank(text));
  }
  EXPECT_FALSE(tokenizer->IsBlank("  .")) << "a full stop";
  EXPECT_FALSE(tokenizer->IsBlank("\xE2\x80\x8B")) << "no width, but no white space";
}

TEST(ByteTokenizer, DeltasAreWholeCharacters) {
  const auto tokenizer = LoadOrDie(Config());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.Push(3 + 0xE2), "");
  EXPECT_EQ(decoder.Push(3 + 0x82), "");
  EXPECT_EQ(decoder.Push(1), "") << "no text of its own";
  EXPECT_EQ(decoder.Push(3 + 0xAC), "\xE2\x82\xAC");
  EXPECT_EQ(decoder.Push(3 + 0xE2), "");
  EXPECT_EQ(decoder.Push(3 + 'a'), "a") << "what broke is dropped";
  EXPECT_EQ(decoder.Push(3 + 0xF0), "");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(ByteTokenizer, StopStringsEndBetweenCharacters) {
  const auto tokenizer = LoadOrDie(Config());
  StreamDecoder decoder(*tokenizer);
  const std::vector<std::string> stops = {"\xC3\xA9."};
  StopMatcher search(stops);
  std::string text;
  const auto ids = tokenizer->Encode("caf\xC3\xA9. Tea");
  ASSERT_TRUE(ids.ok());
  for (const int32_t id : *ids) {
    text += search.Push(decoder.Push(id));
    if (search.stopped()) break;
  }
  EXPECT_TRUE(search.stopped());
  EXPECT_EQ(text, "caf");
}

TEST(ByteTokenizer, WindowsAreCutBetweenWordsAndNeverInsideACharacterByChoice) {
  const auto tokenizer = LoadOrDie(Config());
  const std::string text = "One ends. Two \xC3\xA9";
  const auto ids = tokenizer->Encode(text);
  ASSERT_TRUE(ids.ok());
  const std::vector<Boundary> before = FindBoundaries(*tokenizer, *ids);
  ASSERT_EQ(before.size(), text.size());
  EXPECT_EQ(before[3], Boundary::kWord) << "before the space";
  EXPECT_EQ(before[9], Boundary::kSentence);
  EXPECT_EQ(before[10], Boundary::kPiece);
  EXPECT_EQ(before[13], Boundary::kWord);
  EXPECT_EQ(before[15], Boundary::kInside);
}

TEST(ByteTokenizer, OldDirectoriesSayTheClassInConfigJson) {
  json model = {{"model_type", "t5"}, {"tokenizer_class", "ByT5Tokenizer"}};
  EXPECT_TRUE(Load(nullptr, kVocabulary, model).ok());
  model["tokenizer_class"] = "T5Tokenizer";
  EXPECT_THAT(std::string(Load(nullptr, kVocabulary, model).status().message()),
              HasSubstr("neither spiece.model nor tokenizer.json"));
}

TEST(ByteTokenizer, TheEndIsTheEosTokenOfItsFile) {
  json config = WithAdded("<end>", 300, {{"special", true}});
  config["eos_token"] = "<end>";
  EXPECT_EQ(LoadOrDie(config)->end_id(), 300);
  config["eos_token"] = {{"content", "</s>"}};
  EXPECT_EQ(LoadOrDie(config)->end_id(), 1);
}

TEST(ByteTokenizer, RefusesWhatItCannotServeByName) {
  EXPECT_THAT(Refusal(Config(), 258), HasSubstr("tokenizer_config.json: ByT5Tokenizer needs 259"));
  EXPECT_THAT(Refusal(WithAdded("<x>", 384)),
              HasSubstr("added token '<x>' (id 384) is beyond the model's vocab_size, 384"));
  EXPECT_THAT(Refusal(WithAdded("<x>", 258)), HasSubstr("has the id of a byte"));
  EXPECT_THAT(Refusal(WithAdded("\xC3\xA9", 300)), HasSubstr("stands for a byte"));
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    EXPECT_THAT(Refusal(WithAdded("<x>", 300, {{flag, true}})), HasSubstr("is not supported with"));
  }
}

}  // namespace
}  // namespace precis
