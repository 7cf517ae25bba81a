// Ids and texts that Python's sentencepiece gave (tests/golden/make_tokenizer_cases.py).
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;

json ReadJson(const std::string& path) {
  std::ifstream in(path);
  return json::parse(in);
}

std::unique_ptr<Tokenizer> LoadOrDie(const std::string& dir, uint32_t vocab_size = 1u << 20) {
  auto tokenizer = Tokenizer::Load(dir, vocab_size);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return std::move(tokenizer).value();
}

std::string Fnv1a(const std::vector<int32_t>& ids) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((static_cast<uint32_t>(id) >> shift) & 0xFF)) * 0x100000001B3;
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

void ExpectCases(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GT(cases.size(), 20u);
  for (const json& c : cases) {
    const auto ids = tokenizer.Encode(c["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c["ids"].get<std::vector<int32_t>>()) << c["text"];
    EXPECT_EQ(tokenizer.Decode(*ids), c["decoded"].get<std::string>()) << c["text"];
  }
}

void ExpectLongCases(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GE(cases.size(), 5u);
  for (const json& c : cases) {
    std::string text;
    for (size_t i = 0; i < c["times"].get<size_t>(); ++i) text += c["repeat"].get<std::string>();
    const auto ids = tokenizer.Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(ids->size(), c["count"].get<size_t>()) << c["name"];
    EXPECT_EQ(Fnv1a(*ids), c["fnv1a"].get<std::string>()) << c["name"];
  }
}

TEST(TokenizerGolden, FixtureCases) {
  const auto tokenizer = LoadOrDie("tests/golden");
  EXPECT_EQ(tokenizer->source(), "spiece.model");
  EXPECT_EQ(tokenizer->num_pieces(), 512u);
  const json golden = ReadJson("tests/golden/tokenizer_cases.json");
  ExpectCases(*tokenizer, golden["encode"]);
  ASSERT_GE(golden["decode"].size(), 6u);
  for (const json& c : golden["decode"]) {
    EXPECT_EQ(tokenizer->Decode(c["ids"].get<std::vector<int32_t>>()),
              c["decoded"].get<std::string>());
  }
}

TEST(TokenizerGolden, HardTextOfEveryModel) {
  const json golden = ReadJson("tests/golden/tokenizer_hard_cases.json");
  ASSERT_EQ(golden["models"].size(), 5u);
  for (const json& model : golden["models"]) {
    SCOPED_TRACE(model["model"]);
    std::string dir = "tests/golden/" + model["model"].get<std::string>();
    dir.resize(dir.rfind('/'));
    const auto tokenizer = LoadOrDie(dir);
    EXPECT_EQ(tokenizer->num_pieces(), model["pieces"].get<uint32_t>());
    ExpectCases(*tokenizer, model["cases"]);
    ExpectLongCases(*tokenizer, model["long"]);
  }
}

TEST(TokenizerGolden, TokenizerJsonAloneGivesTheSame) {
  // 544 rows, as the fixtures have: the 100 extra ids behind the 512 pieces need not fit.
  const auto tokenizer = LoadOrDie("tests/golden/tokenizer_json", 544);
  EXPECT_EQ(tokenizer->source(), "tokenizer.json");
  EXPECT_EQ(tokenizer->num_pieces(), 512u);
  ExpectCases(*tokenizer, ReadJson("tests/golden/tokenizer_cases.json")["encode"]);
  const json hard = ReadJson("tests/golden/tokenizer_hard_cases.json")["models"][0];
  ExpectCases(*tokenizer, hard["cases"]);
  ExpectLongCases(*tokenizer, hard["long"]);
}

TEST(TokenizerGolden, DemoModelsTextComesBack) {
  const auto tokenizer = LoadOrDie("models/demo", 8000);
  const json golden = ReadJson("models/demo/golden.json");
  size_t checked = 0;
  for (const json& c : golden["cases"]) {
    if (!c.contains("text")) continue;
    auto ids = tokenizer->Encode(c["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    if (c.contains("max_source_length")) {
      const auto most = c["max_source_length"].get<size_t>() - 1;
      if (ids->size() > most) ids->resize(most);
    }
    ids->push_back(1);
    EXPECT_EQ(*ids, c["input_ids"].get<std::vector<int32_t>>());
    ++checked;
  }
  EXPECT_GT(checked, 0u);
}

}  // namespace
}  // namespace precis
