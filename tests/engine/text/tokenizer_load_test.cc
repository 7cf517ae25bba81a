// What Tokenizer::Load takes and what it refuses, with what words.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Pieces 0, 1 and 2 as T5 has them, then single letters and words.
json SmallJson() {
  json vocab = json::array();
  const std::pair<const char*, double> pieces[] = {
      {"<pad>", 0.0}, {"</s>", 0.0}, {"<unk>", 0.0}, {"▁", -2.0},     {"a", -3.0}, {"b", -3.0},
      {"▁a", -2.5},   {"▁b", -2.5},  {"▁a▁b", -1.0}, {"<sep>", -9.0}, {"ab", -4.0}};
  for (const auto& [text, score] : pieces) vocab.push_back(json::array({text, score}));
  json special = json::array();
  for (int id = 0; id < 3; ++id) {
    special.push_back(
        {{"id", id}, {"content", vocab[static_cast<size_t>(id)][0]}, {"special", true}});
  }
  return {{"added_tokens", special},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Metaspace"},
            {"replacement", "▁"},
            {"prepend_scheme", "always"},
            {"split", true}}},
          {"decoder", {{"type", "Metaspace"}, {"replacement", "▁"}}},
          {"post_processor", nullptr},
          {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocab}}}};
}

class TokenizerLoad : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/tokenizer_load_" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, std::string_view bytes) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << bytes;
  }
  StatusOr<std::unique_ptr<Tokenizer>> LoadJson(const json& root, uint32_t vocab_size = 100) {
    Write("tokenizer.json", root.dump());
    return Tokenizer::Load(dir_, vocab_size);
  }
  std::vector<int32_t> EncodeJson(const json& root, std::string_view text) {
    const auto tokenizer = LoadJson(root);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? (*tokenizer)->Encode(text).value() : std::vector<int32_t>{-1};
  }
  // The error is one line that names the file and says `what`.
  void ExpectRefused(const std::string& file, const std::string& what, uint32_t vocab_size = 1000) {
    const auto tokenizer = Tokenizer::Load(dir_, vocab_size);
    ASSERT_FALSE(tokenizer.ok()) << what;
    const std::string message(tokenizer.status().message());
    EXPECT_THAT(message,
                AllOf(HasSubstr(dir_ + "/" + file + ": "), HasSubstr(what), Not(HasSubstr("\n"))));
    EXPECT_LT(message.size(), 500u);
  }
  void ExpectJsonRefused(const json& root, const std::string& what) {
    Write("tokenizer.json", root.dump());
    ExpectRefused("tokenizer.json", what);
  }

  std::string dir_;
};

TEST_F(TokenizerLoad, ADirectoryWithoutTokenizerSaysWhatItLacks) {
  const auto tokenizer = Tokenizer::Load(dir_, 100);
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              AllOf(HasSubstr(dir_), HasSubstr("spiece.model"), HasSubstr("tokenizer.json")));
}

TEST_F(TokenizerLoad, SpieceModelGoesBeforeATokenizerJsonThatSaysTheSame) {
  Write("tokenizer.json", ReadFile("tests/golden/tokenizer_json/tokenizer.json"));
  Write("spiece.model", ReadFile("tests/golden/spiece.model"));
  const auto tokenizer = Tokenizer::Load(dir_, 512);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->source(), "spiece.model");
}

TEST_F(TokenizerLoad, PiecesMustFitTheVocabulary) {
  Write("spiece.model", ReadFile("tests/golden/spiece.model"));
  ExpectRefused("spiece.model", "512 pieces do not fit the model's vocab_size of 511", 511);
  EXPECT_TRUE(Tokenizer::Load(dir_, 512).ok());
}

TEST_F(TokenizerLoad, ASpieceModelCutAnywhereIsRefused) {
  const std::string whole = ReadFile("tests/golden/tokenizers/byte_fallback/spiece.model");
  ASSERT_GT(whole.size(), 1000u);
  size_t refused = 0;
  for (size_t size = 0; size < whole.size(); size += 7) {
    Write("spiece.model", std::string_view(whole).substr(0, size));
    // Cut between two fields the rest may still be a model: then it must be one that works.
    const auto tokenizer = Tokenizer::Load(dir_, 1000);
    refused += !tokenizer.ok();
    if (tokenizer.ok()) {
      EXPECT_TRUE((*tokenizer)->Encode("some text").ok());
    }
  }
  EXPECT_GT(refused, whole.size() / 7 * 9 / 10);
}

TEST_F(TokenizerLoad, GarbageIsRefused) {
  Write("spiece.model", "");
  ExpectRefused("spiece.model", "there are no pieces");
  Write("spiece.model", "version https://git-lfs.github.com/spec/v1\noid sha256:1234\n");
  ExpectRefused("spiece.model", "not a SentencePiece model, or cut short");
  Write("spiece.model", std::string(1000, '\xFF'));
  ExpectRefused("spiece.model", "not a SentencePiece model, or cut short");
}

TEST_F(TokenizerLoad, FlippedBytesNeverCrash) {
  const std::string whole = ReadFile("tests/golden/tokenizers/byte_fallback/spiece.model");
  const std::string rules = ReadFile("tests/golden/spiece.model");
  for (size_t i = 0; i < 1500; ++i) {
    std::string bytes = i % 2 == 0 ? whole : rules;
    for (size_t n = 0; n < 20; ++n)
      bytes[(i * 7919 + n * 104729) % bytes.size()] ^= static_cast<char>(1 + i % 255);
    Write("spiece.model", bytes);
    const auto tokenizer = Tokenizer::Load(dir_, 1000);
    if (!tokenizer.ok()) continue;
    const auto ids = (*tokenizer)->Encode("The harbour ferry ﬁnance ㍍ Ａ é e\u0301 was\tlate.");
    ASSERT_TRUE(ids.ok());
    (*tokenizer)->Decode(*ids);
  }
}

// model_type is field 3 of trainer_spec, which is field 2; a later field overrides an earlier one.
TEST_F(TokenizerLoad, OtherModelTypesAreRefusedByName) {
  const std::string whole = ReadFile("tests/golden/tokenizers/byte_fallback/spiece.model");
  Write("spiece.model", whole + std::string("\x12\x02\x18\x02", 4));
  ExpectRefused("spiece.model", "the model type is BPE");
  Write("spiece.model", whole + std::string("\x12\x02\x18\x04", 4));
  ExpectRefused("spiece.model", "the model type is CHAR");
  Write("spiece.model", whole + std::string("\x2A\x05\x12\x03zzz", 7));
  ExpectRefused("spiece.model", "denormalizer");
  Write("spiece.model", whole + std::string("\x0A\x05\x0A\x03zzz\x0A\x05\x0A\x03zzz", 14));
  ExpectRefused("spiece.model", "is there twice");
  Write("spiece.model", whole + std::string("\x0A\x05\x0A\x03z\xC3z", 7));
  ExpectRefused("spiece.model", "is not UTF-8");
}

TEST_F(TokenizerLoad, BrokenUtf8NamesItsByteAndNoField) {
  Write("spiece.model", ReadFile("tests/golden/spiece.model"));
  const auto tokenizer = Tokenizer::Load(dir_, 512);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode("caf\xC3\xA9 \xED\xA0\x80");
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(ids.status().message()), "not UTF-8 at byte 6");
  EXPECT_EQ(FieldOf(ids.status()), std::nullopt);
}

using Ids = std::vector<int32_t>;

TEST_F(TokenizerLoad, JsonTextBecomesPieces) {
  EXPECT_EQ(EncodeJson(SmallJson(), "ab a"), (Ids{6, 5, 6}));
  EXPECT_EQ(EncodeJson(SmallJson(), "a</s>"), (Ids{6, 2}));  // never id 1
}

TEST_F(TokenizerLoad, JsonSplitAtSpacesHidesPiecesAcrossThem) {
  json root = SmallJson();
  EXPECT_EQ(EncodeJson(root, "a b"), (Ids{6, 7}));
  root["pre_tokenizer"]["split"] = false;
  EXPECT_EQ(EncodeJson(root, "a b"), (Ids{8}));
}

TEST_F(TokenizerLoad, JsonMetaspaceSchemesArePrefixOrNone) {
  json root = SmallJson();
  EXPECT_EQ(EncodeJson(root, "a  b"), (Ids{6, 3, 7}));  // nothing collapses spaces here
  root["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_EQ(EncodeJson(root, "a b"), (Ids{4, 7}));
  root["pre_tokenizer"].erase("prepend_scheme");  // files up to 2023
  root["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(EncodeJson(root, "a b"), (Ids{6, 7}));
  root["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(EncodeJson(root, "a b"), (Ids{4, 7}));
}

TEST_F(TokenizerLoad, JsonSpacesAreCollapsedWhereItSaysSo) {
  json root = SmallJson();
  const json collapse = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}};
  const json strip = {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}};
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", {strip, collapse}}};
  EXPECT_EQ(EncodeJson(root, " a   b "), (Ids{6, 7}));
  json words = SmallJson();
  words["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "WhitespaceSplit"}}, root["pre_tokenizer"]}}};
  EXPECT_EQ(EncodeJson(words, " a \t\n b\u00A0a\r\n"), (Ids{6, 7, 6}));
}

TEST_F(TokenizerLoad, JsonDecodesAsSentencePiece) {
  const auto tokenizer = LoadJson(SmallJson());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Decode(Ids{6, 5, 7, 1, 0, 2, 99, -5}), "ab b ⁇ ");
}

TEST_F(TokenizerLoad, JsonThatIsNoUnigramModelIsRefusedByName) {
  for (const char* type : {"WordPiece", "WordLevel"}) {
    json root = SmallJson();
    root["model"]["type"] = type;
    ExpectJsonRefused(root, std::string("the model type is ") + type + "; only Unigram");
  }
  json sentencepiece_bpe = SmallJson();
  sentencepiece_bpe["model"]["type"] = "BPE";
  ExpectJsonRefused(sentencepiece_bpe,
                    "pre_tokenizer \"Metaspace\" is not supported with model BPE");
  Write("tokenizer.json", "{\"model\": {");
  ExpectRefused("tokenizer.json", "not a JSON object, or cut short");
  Write("tokenizer.json", "[]");
  ExpectRefused("tokenizer.json", "not a JSON object");
  ExpectJsonRefused(json::object(), "model type is ?");
}

TEST_F(TokenizerLoad, JsonPartsThatCannotBeHonouredAreRefusedByName) {
  struct Case {
    std::function<void(json*)> change;
    std::string message;
  };
  const auto set = [](const char* part, json value) {
    return [part, value](json* root) { (*root)[part] = value; };
  };
  const json metaspace = SmallJson()["pre_tokenizer"];
  json first = metaspace;
  first["prepend_scheme"] = "first";
  json underscore = metaspace;
  underscore["replacement"] = "_";
  const json split = {{"type", "WhitespaceSplit"}};
  const std::vector<Case> cases = {
      {set("normalizer", {{"type", "NFKC"}}), "normalizer NFKC is not supported"},
      {set("normalizer", {{"type", "Lowercase"}}), "normalizer Lowercase is not supported"},
      {set("normalizer", {{"type", "Strip"}, {"strip_right", true}}), "Strip without Replace"},
      {set("normalizer", {{"type", "Replace"}, {"pattern", {{"String", "``"}}}, {"content", "\""}}),
       "normalizer Replace of"},
      {set("normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "%%%"}}), "not base64"},
      {set("normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}}),
       "precompiled_charsmap: 3 bytes"},
      {set("pre_tokenizer", {{"type", "ByteLevel"}}), "pre_tokenizer ByteLevel is not supported"},
      {set("pre_tokenizer", nullptr), "no Metaspace"},
      {set("pre_tokenizer", underscore), "Metaspace replacement '_'"},
      {set("pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, first}}}),
       "prepend_scheme 'first' after WhitespaceSplit"},
      {set("decoder", {{"type", "WordPiece"}}), "decoder WordPiece is not supported"},
      {set("decoder", nullptr), "decoder has no Metaspace"},
      {set("post_processor", {{"type", "BertProcessing"}}), "post_processor BertProcessing"},
      {[](json* root) { (*root)["model"]["unk_id"] = nullptr; }, "model.unk_id"},
      {[](json* root) { (*root)["model"]["unk_id"] = 400; }, "model.unk_id"},
      {[](json* root) { (*root)["model"]["vocab"][4] = "a"; }, "model.vocab[4]"},
      {[](json* root) { (*root)["model"]["vocab"][5][0] = "a"; }, "is there twice"},
      {[](json* root) { (*root)["model"]["byte_fallback"] = true; }, "0 byte pieces"},
      {[](json* root) {
         (*root)["added_tokens"].push_back({{"id", 9}, {"content", "<sep>"}, {"special", false}});
       },
       "added token '<sep>' (id 9) is not supported with a model that keeps spaces"},
      {[](json* root) {
         (*root)["added_tokens"].push_back({{"id", 4}, {"content", "<x>"}, {"special", true}});
       },
       "added token '<x>' has id 4, which is that of the piece 'a'"},
  };
  for (const Case& c : cases) {
    json root = SmallJson();
    c.change(&root);
    ExpectJsonRefused(root, c.message);
  }
}

TEST_F(TokenizerLoad, KnowsThePieceThatClosesASource) {
  Write("spiece.model", ReadFile("tests/golden/spiece.model"));
  EXPECT_EQ((*Tokenizer::Load(dir_, 512))->end_id(), 1);
  const auto with_config = [this](const std::string& eos_token) {
    Write("tokenizer_config.json",
          R"({"tokenizer_class": "T5Tokenizer", "eos_token": )" + eos_token + "}");
    return (*Tokenizer::Load(dir_, 512))->end_id();
  };
  EXPECT_EQ(with_config("\"<unk>\""), 2) << "as T5Tokenizer of transformers 5.5.4";
  EXPECT_EQ(with_config(R"({"content": "</s>", "lstrip": false})"), 1);
  EXPECT_EQ(with_config("null"), 1);
  std::filesystem::remove(dir_ + "/tokenizer_config.json");
  std::filesystem::remove(dir_ + "/spiece.model");
  json root = SmallJson();
  std::swap(root["model"]["vocab"][1], root["model"]["vocab"][9]);  // </s> and <sep>
  root["added_tokens"] = json::array();
  const auto tokenizer = LoadJson(root);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->end_id(), 9);
  root["model"]["vocab"][9][0] = "</S>";
  ExpectJsonRefused(root, "no piece is '</s>', which closes every source");
}

TEST_F(TokenizerLoad, JsonSpecialTokensAreNeverMadeFromText) {
  json root = SmallJson();
  root["added_tokens"].push_back({{"id", 9}, {"content", "<sep>"}, {"special", true}});
  root["added_tokens"].push_back({{"id", 500}, {"content", "<extra_id_0>"}, {"special", true}});
  EXPECT_EQ(EncodeJson(root, "a<sep>"), (Ids{6, 2}));
}

}  // namespace
}  // namespace precis
