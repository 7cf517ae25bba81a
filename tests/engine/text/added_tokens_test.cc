// Added tokens cut text and decode as transformers' AutoTokenizer does it, whichever file lists
// them (tests/golden/make_added_token_cases.py); what it would number otherwise is refused.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr uint32_t kVocabSize = 640;

json ReadJson(const std::string& path) {
  std::ifstream in(path);
  return json::parse(in);
}

class AddedTokensTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/added_tokens_" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // A directory with the files that a case lists.
  void Write(const json& directory) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    for (const auto& [name, content] : directory["files"].items()) {
      json root = content;
      if (root.is_object() && root.contains("sentinels")) {
        for (int n = 0; root["sentinels"].get<bool>() && n < 100; ++n) {
          root["added_tokens_decoder"][std::to_string(611 - n)] = {
              {"content", fmt::format("<extra_id_{}>", n)},
              {"special", true},
              {"normalized", false}};
        }
        root.erase("sentinels");
      }
      std::ofstream(dir_ + "/" + name) << root;
    }
    if (!directory["added_tokens"].is_null()) {
      json root = ReadJson("tests/golden/tokenizer_json/tokenizer.json");
      root["added_tokens"] = directory["added_tokens"];
      std::ofstream(dir_ + "/tokenizer.json") << root;
    }
    if (directory["spiece"]) {
      std::filesystem::copy_file("tests/golden/spiece.model", dir_ + "/spiece.model");
    }
  }

  const json golden_ = ReadJson("tests/golden/added_token_cases.json");
  std::string dir_;
};

TEST_F(AddedTokensTest, CutTextAsTransformersDoes) {
  ASSERT_GE(golden_["served"].size(), 14u);
  for (const json& directory : golden_["served"]) {
    SCOPED_TRACE(directory["name"].get<std::string>());
    Write(directory);
    const auto tokenizer = Tokenizer::Load(dir_, kVocabSize);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ASSERT_GE(directory["encoded"].size(), 30u);
    for (const json& c : directory["encoded"]) {
      const auto ids = (*tokenizer)->Encode(c[0].get<std::string>());
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, c[1].get<Ids>()) << c[0];
    }
  }
}

TEST_F(AddedTokensTest, DecodeAsTransformersDoesWholeAndOneByOne) {
  for (const json& directory : golden_["served"]) {
    SCOPED_TRACE(directory["name"].get<std::string>());
    Write(directory);
    const auto tokenizer = Tokenizer::Load(dir_, kVocabSize);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ASSERT_GE(directory["decoded"].size(), 15u);
    for (const json& c : directory["decoded"]) {
      const Ids ids = c[0].get<Ids>();
      EXPECT_EQ((*tokenizer)->Decode(ids), c[1].get<std::string>()) << c[0];
      StreamDecoder stream(**tokenizer);
      std::string joined;
      for (const int32_t id : ids) joined += stream.Push(id);
      EXPECT_EQ(joined + stream.Finish(), c[1].get<std::string>()) << c[0];
    }
  }
}

TEST_F(AddedTokensTest, WhatTransformersWouldReadOtherwiseIsRefusedByName) {
  ASSERT_GE(golden_["refused"].size(), 11u);
  for (const json& directory : golden_["refused"]) {
    SCOPED_TRACE(directory["name"].get<std::string>());
    Write(directory);
    const auto tokenizer = Tokenizer::Load(dir_, 615);
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokenizer.status().message()),
                AllOf(HasSubstr(fmt::format("{}/{}: ", dir_, directory["file"].get<std::string>())),
                      HasSubstr(directory["message"].get<std::string>())));
  }
}

// Which texts these are, for eyes that do not read the list of cases.
TEST_F(AddedTokensTest, TextNeverBecomesASpecialToken) {
  Write({{"files",
          {{"added_tokens.json", {{"{", 612}, {"<sep>", 613}}},
           {"tokenizer_config.json", {{"sep_token", "<sep>"}}}}},
         {"added_tokens", nullptr},
         {"spiece", true}});
  const auto tokenizer = Tokenizer::Load(dir_, kVocabSize);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = [&](std::string_view text) { return (*tokenizer)->Encode(text).value(); };
  EXPECT_EQ(ids("a{a"), (Ids{37, 612, 37}));
  EXPECT_THAT(ids("a<sep>a <extra_id_0> </s>"),
              testing::Each(testing::AllOf(testing::Lt(512), testing::Ne(1))));
  EXPECT_EQ((*tokenizer)->Decode(Ids{37, 612, 613, 611, 1, 37}), "a{ a");
}

TEST_F(AddedTokensTest, AnotherModelInTokenizerJsonThanInSpieceModelIsRefused) {
  const json whole = ReadJson("tests/golden/tokenizer_json/tokenizer.json");
  const auto expect_refused = [this](const json& root, const std::string& message) {
    Write({{"files", {{"tokenizer.json", root}}}, {"added_tokens", nullptr}, {"spiece", true}});
    const auto tokenizer = Tokenizer::Load(dir_, kVocabSize);
    ASSERT_FALSE(tokenizer.ok()) << message;
    EXPECT_THAT(std::string(tokenizer.status().message()),
                AllOf(HasSubstr(dir_ + "/tokenizer.json: "), HasSubstr(message)));
  };
  json root = whole;
  root["model"]["vocab"][40][1] = -3.25;
  expect_refused(root, "piece 40 is '");
  root = whole;
  root["model"]["vocab"][511][0] = "other";
  expect_refused(root, "piece 511 is 'other'");
  root = whole;
  root["model"]["vocab"].push_back({"more", -1.0});
  expect_refused(root, "piece 612, 'more', is not in spiece.model");
  root = whole;
  root["normalizer"] = nullptr;
  expect_refused(root, "its precompiled_charsmap is not that of spiece.model");
  expect_refused(json::object(), "model type is ?");
}

TEST_F(AddedTokensTest, ModelsThatKeepSpacesTakeNone) {
  Write({{"files", {{"added_tokens.json", {{"{", 700}}}}},
         {"added_tokens", nullptr},
         {"spiece", false}});
  std::filesystem::copy_file("tests/golden/tokenizers/byte_fallback/spiece.model",
                             dir_ + "/spiece.model");
  const auto tokenizer = Tokenizer::Load(dir_, 1000);
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(
      std::string(tokenizer.status().message()),
      HasSubstr("added token '{' (id 700) is not supported with a model that keeps spaces"));
}

TEST(IsBlank, IsWhiteSpaceWhateverThePiecesAre) {
  for (const char* dir : {"tests/golden", "tests/golden/tokenizers/byte_fallback",
                          "tests/golden/tokenizers/across_spaces", "tests/golden/tokenizer_json"}) {
    const auto tokenizer = Tokenizer::Load(dir, 1u << 20).value();
    for (const char* text : {"", " ", "\n\n\t ", "\u00a0\u3000", "\u2028\r\n", "\u2581 \u2581"}) {
      EXPECT_TRUE(tokenizer->IsBlank(text)) << dir << " '" << text << "'";
    }
    for (const char* text : {"a", "  .  ", "\n\u0301", "東"}) {
      EXPECT_FALSE(tokenizer->IsBlank(text)) << dir << " '" << text << "'";
    }
  }
  // The rules of T5 make a space of it.
  EXPECT_TRUE(Tokenizer::Load("tests/golden", 544).value()->IsBlank("\u200b\u200b"));
}

}  // namespace
}  // namespace precis
