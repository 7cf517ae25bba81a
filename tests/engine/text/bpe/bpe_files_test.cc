// What the files of a byte-level BPE may say: as transformers reads them, for many kinds of files
// (tests/golden/make_bpe_cases.py), and what is refused with what words.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/text/tokenizer.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Ids = std::vector<int32_t>;

constexpr uint32_t kVocabulary = 640;
constexpr const char* kNames[] = {"config.json", "vocab.json", "merges.txt", "tokenizer.json",
                                  "tokenizer_config.json"};

std::string ReadAll(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// A directory with the tokenizer of a fixture, to be changed.
class Directory {
 public:
  explicit Directory(const std::string& base) {
    const std::string from = "tests/golden/families/" + base + "/";
    for (const char* name : kNames) {
      if (std::filesystem::exists(from + name)) dir_.Write(name, ReadAll(from + name));
    }
  }
  void Write(const std::string& name, const json& content) {
    dir_.Write(name, content.is_string() ? content.get<std::string>() : content.dump());
  }
  void Remove(const std::string& name) { std::filesystem::remove(dir_.path() + "/" + name); }
  void Change(const std::string& name, const std::function<void(json*)>& change) {
    json root = json::parse(ReadAll(dir_.path() + "/" + name));
    change(&root);
    Write(name, root);
  }
  StatusOr<std::unique_ptr<Tokenizer>> Load(uint32_t vocab_size = kVocabulary) const {
    return Tokenizer::Load(dir_.path(), vocab_size);
  }
  void ExpectServed(uint32_t vocab_size = kVocabulary) const {
    const auto tokenizer = Load(vocab_size);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  }
  // With one line that names the file.
  void ExpectRefused(const std::string& file, const std::string& what,
                     uint32_t vocab_size = kVocabulary) const {
    const auto tokenizer = Load(vocab_size);
    ASSERT_FALSE(tokenizer.ok()) << what;
    EXPECT_THAT(
        std::string(tokenizer.status().message()),
        AllOf(StartsWith(dir_.path()), HasSubstr(file), HasSubstr(what), Not(HasSubstr("\n"))));
  }

 private:
  testing::TempDir dir_;
};

void ApplyCase(const json& c, Directory* directory) {
  for (const auto& [name, content] : c["files"].items()) {
    if (content.is_null()) {
      directory->Remove(name);
    } else {
      directory->Write(name, content);
    }
  }
  if (c["tokenizer_json"].empty()) return;
  directory->Change("tokenizer.json", [&c](json* root) { root->update(c["tokenizer_json"]); });
}

void ExpectCase(const Tokenizer& tokenizer, const json& c) {
  Ids around(tokenizer.source_prefix().begin(), tokenizer.source_prefix().end());
  around.push_back(tokenizer.end_id());
  EXPECT_EQ(around, c["around"].get<Ids>());
  ASSERT_GE(c["encoded"].size(), 30u);
  for (const json& encoded : c["encoded"]) {
    const auto ids = tokenizer.Encode(encoded[0].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, encoded[1].get<Ids>()) << encoded[0];
  }
  ASSERT_GE(c["decoded"].size(), 15u);
  for (const json& decoded : c["decoded"]) {
    const auto ids = decoded[0].get<Ids>();
    EXPECT_EQ(tokenizer.Decode(ids), decoded[1].get<std::string>()) << decoded[0];
    StreamDecoder stream(tokenizer);
    std::string text;
    for (const int32_t id : ids) text += stream.Push(id);
    EXPECT_EQ(text + stream.Finish(), decoded[1].get<std::string>()) << decoded[0];
  }
}

TEST(BpeFiles, AreReadAsTransformersReadsThem) {
  std::ifstream file("tests/golden/bpe_cases.json");
  const json golden = json::parse(file);
  ASSERT_GE(golden["directories"].size(), 24u);
  for (const json& c : golden["directories"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    Directory directory(c["base"].get<std::string>());
    ApplyCase(c, &directory);
    const auto tokenizer = directory.Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectCase(**tokenizer, c);
  }
}

TEST(BpeFiles, MergesMayBeStringsOrPairs) {
  Directory directory("distilbart");
  const auto ids = (*directory.Load())->Encode("the ferry was late");
  directory.Change("tokenizer.json", [](json* root) {
    for (json& merge : (*root)["model"]["merges"]) {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ');
      merge = json::array({text.substr(0, space), text.substr(space + 1)});
    }
  });
  const auto tokenizer = directory.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("the ferry was late"), ids);
}

TEST(BpeFiles, LinesMayEndAsOnWindowsAndTheVersionIsNoMerge) {
  Directory directory("bart_cnn");
  const auto ids = (*directory.Load())->Encode("the ferry");
  std::string merges = ReadAll("tests/golden/families/bart_cnn/merges.txt");
  for (size_t at = 0; (at = merges.find('\n', at)) != merges.npos; at += 2) {
    merges.insert(at, "\r");
  }
  directory.Write("merges.txt", merges);
  EXPECT_EQ((*directory.Load())->Encode("the ferry"), ids);
  directory.Write("merges.txt", merges.substr(merges.find('\n') + 1));
  EXPECT_EQ((*directory.Load())->Encode("the ferry"), ids);
}

TEST(BpeFiles, TokenizerJsonGoesBeforeTheOtherTwo) {
  Directory directory("distilbart");
  directory.Write("vocab.json", "{}");
  directory.Write("merges.txt", "no merge\n");
  EXPECT_EQ((*directory.Load())->source(), "tokenizer.json");
}

TEST(BpeFiles, AMaskBeyondTheEmbeddingIsServed) {
  // bart-large-cnn has 50,264 rows and <mask> is 50264.
  const Directory directory("bart_cnn");
  directory.ExpectServed(605);
  EXPECT_EQ((*directory.Load(605))->Decode(Ids{68, 605, 68}), "aa");
  directory.ExpectRefused("vocab.json", "has id 604, the model's vocab_size is 604", 604);
  directory.ExpectRefused("vocab.json", "the model's vocab_size is 1", 1);
}

TEST(BpeFiles, MissingOnesAreNamed) {
  Directory directory("bart_cnn");
  directory.Remove("merges.txt");
  directory.ExpectRefused("vocab.json is there", "no merges.txt beside it");
  directory.Remove("vocab.json");
  directory.ExpectRefused("tokenizer.json", "and BartTokenizer needs them");
  directory.Remove("tokenizer_config.json");
  directory.ExpectRefused("neither spiece.model nor tokenizer.json",
                          "nor vocab.json with merges.txt");
  EXPECT_EQ(directory.Load().status().code(), absl::StatusCode::kNotFound);
  directory.Write("merges.txt", "a b\n");
  directory.ExpectRefused("merges.txt is there", "no vocab.json beside it");
}

TEST(BpeFiles, VocabulariesThatCannotBeAreRefused) {
  const auto refused = [](const std::function<void(json*)>& change, const std::string& what) {
    Directory directory("bart_cnn");
    directory.Change("vocab.json", change);
    directory.ExpectRefused("vocab.json", what);
    Directory other("distilbart");
    other.Change("tokenizer.json", [&](json* root) { change(&(*root)["model"]["vocab"]); });
    other.ExpectRefused("tokenizer.json", what);
  };
  refused([](json* vocab) { (*vocab)["x"] = 5; }, R"("\"" and "x" have the same id, 5)");
  refused([](json* vocab) { (*vocab)["x"] = -1; }, R"(the id of "x" is -1)");
  refused([](json* vocab) { (*vocab)["x"] = 1.5; }, R"(the id of "x" is 1.5)");
  refused([](json* vocab) { (*vocab)["x"] = "7"; }, R"(the id of "x" is "7")");
  refused([](json* vocab) { (*vocab)["x"] = 1ull << 40; }, "is 1099511627776");
  refused([](json* vocab) { (*vocab)["a\nb"] = json::array(); }, R"("a\nb")");
  refused([](json* vocab) { (*vocab)["far"] = 2000000000; }, "has id 2000000000");
  refused([](json* vocab) { vocab->erase("\u0120"); }, "the byte 0x20 in GPT-2's alphabet");
  refused([](json* vocab) { vocab->erase("</s>"); }, "</s>");
  Directory array("bart_cnn");
  array.Write("vocab.json", "[]");
  array.ExpectRefused("vocab.json", "not a JSON object, or cut short");
  array.Write("vocab.json", "{\"a\": 1");
  array.ExpectRefused("vocab.json", "not a JSON object, or cut short");
}

TEST(BpeFiles, MergesThatCannotBeAreRefused) {
  const auto refused = [](const std::string& lines, const std::string& what) {
    Directory directory("bart_cnn");
    directory.Write("merges.txt", lines);
    directory.ExpectRefused("merges.txt", what);
  };
  const std::string first = "#version: 0.2\nh e\n";
  refused(first + "he qq\n", R"(line 3: the merge of "he" and "qq" names "qq", which the voc)");
  refused(first + "qq he\n", R"(names "qq", which the vocabulary lacks)");
  refused(first + "h h\n", R"(makes "hh", which the vocabulary lacks)");
  refused(first + "\nh e\n", R"(line 3, "", is not two pieces)");
  refused(first + "h e x\n", R"(line 3, "h e x", is not two pieces)");
  refused(first + "he\n", R"(line 3, "he", is not two pieces)");
  refused(first + "h  e\n", "is not two pieces");
  refused(first + "h \n", R"(names "", which)");
  refused(first + "h \xFF\n", "not UTF-8 at byte 20");
  Directory json_form("distilbart");
  const auto refused_json = [&json_form](const json& merge, const std::string& what) {
    json_form.Change("tokenizer.json", [&](json* root) { (*root)["model"]["merges"][2] = merge; });
    json_form.ExpectRefused("tokenizer.json: model.merges[2]", what);
  };
  refused_json({"h", "e", "x"}, R"(["h","e","x"], is not two pieces)");
  refused_json("h", R"("h", is not two pieces)");
  refused_json(7, "7, is not two pieces");
  refused_json({"h", 7}, "is not two pieces");
  refused_json("qq e", R"(names "qq", which the vocabulary lacks)");
  json_form.Change("tokenizer.json", [](json* root) { (*root)["model"]["merges"] = "h e"; });
  json_form.ExpectRefused("tokenizer.json", "model.merges is not a list");
}

TEST(BpeFiles, TextMustNotBecomeASpecialToken) {
  Directory directory("bart_cnn");
  directory.Change("vocab.json", [](json* vocab) {
    (*vocab)["</"] = 606;
    (*vocab)["s>"] = 607;
  });
  directory.Write("merges.txt", "< /\ns >\n</ s>\n");
  directory.ExpectRefused("merges.txt",
                          R"(line 3: the merge of "</" and "s>" makes "</s>", a special)");
  Directory byte("bart_cnn");
  byte.Change("tokenizer_config.json", [](json* config) { (*config)["sep_token"] = "|"; });
  byte.ExpectRefused("vocab.json", R"(the special token "|" is the piece of a byte)");
}

TEST(BpeFiles, PartsOfTokenizerJsonThatWouldChangeIdsAreRefusedByName) {
  const auto refused = [](const std::string& path, const json& value, const std::string& what) {
    Directory directory("distilbart");
    directory.Change("tokenizer.json",
                     [&](json* root) { (*root)[json::json_pointer(path)] = value; });
    directory.ExpectRefused("tokenizer.json", what);
  };
  refused("/model/type", "WordPiece", "model.type is \"WordPiece\"");
  refused("/model/dropout", 0.1, "model.dropout 0.1 is not supported");
  refused("/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix");
  refused("/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix");
  for (const char* flag : {"fuse_unk", "byte_fallback", "ignore_merges"}) {
    refused(std::string("/model/") + flag, true, std::string("model.") + flag + " true");
  }
  refused("/normalizer", {{"type", "NFC"}}, "normalizer \"NFC\"");
  refused("/pre_tokenizer", nullptr, "pre_tokenizer is not one ByteLevel, but 0");
  refused("/pre_tokenizer", {{"type", "Whitespace"}}, "pre_tokenizer \"Whitespace\"");
  refused("/pre_tokenizer/use_regex", false, "use_regex false");
  refused("/decoder", {{"type", "Metaspace"}}, "decoder \"Metaspace\"");
  refused("/decoder", nullptr, "decoder null");
  refused("/post_processor", nullptr, "puts no token behind a source");
  refused("/post_processor", {{"type", "ByteLevel"}}, "puts no token behind a source");
  refused("/post_processor", {{"type", "BertProcessing"}}, "post_processor \"BertProcessing\"");
  refused("/post_processor/sep", {"</s>", 7},
          "\"</s>\", which stands around every source, has not");
  refused("/post_processor/sep", "</s>", "RobertaProcessing: sep is \"</s>\"");
  refused("/post_processor", {{"type", "TemplateProcessing"}, {"single", json::array()}},
          "post_processor template []");
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 500; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  refused("/normalizer", nested, "normalizer \"Sequence\"");
}

TEST(BpeFiles, HarmlessPartsOfTokenizerJsonAreServed) {
  const auto served = [](const std::string& path, const json& value) {
    Directory directory("distilbart");
    directory.Change("tokenizer.json",
                     [&](json* root) { (*root)[json::json_pointer(path)] = value; });
    directory.ExpectServed();
  };
  served("/model/unk_token", "<unk>");  // every byte has a piece
  served("/model/dropout", 0.0);
  served("/normalizer", {{"type", "Sequence"}, {"normalizers", json::array()}});
  served("/truncation", {{"max_length", 8}});
  served("/padding", {{"strategy", "BatchLongest"}});
}

TEST(BpeFiles, TwoFilesMustNotSayTwoThings) {
  Directory spaces("distilbart");
  spaces.Change("tokenizer_config.json",
                [](json* config) { (*config)["add_prefix_space"] = true; });
  spaces.ExpectRefused("tokenizer.json",
                       "add_prefix_space false, but tokenizer_config.json says true");
  Directory ends("distilbart");
  ends.Change("tokenizer_config.json", [](json* config) {
    (*config)["tokenizer_class"] = "RobertaTokenizer";
    (*config)["cls_token"] = "<pad>";
  });
  ends.ExpectRefused("tokenizer.json", R"(does not put "<pad>" (1) and "</s>" (2) around)");
}

TEST(BpeFiles, OtherClassesAreRefusedByName) {
  Directory directory("bart_cnn");
  directory.Change("tokenizer_config.json",
                   [](json* config) { (*config)["tokenizer_class"] = "GPT2Tokenizer"; });
  directory.ExpectRefused("tokenizer_config.json", "tokenizer_class \"GPT2Tokenizer\"");
  for (const char* name : {"BartTokenizerFast", "RobertaTokenizer", "LEDTokenizer"}) {
    directory.Change("tokenizer_config.json",
                     [name](json* config) { (*config)["tokenizer_class"] = name; });
    directory.ExpectServed();
  }
  // It says what stands around a source itself.
  Directory fast("distilbart");
  fast.Change("tokenizer_config.json",
              [](json* config) { (*config)["tokenizer_class"] = "PreTrainedTokenizerFast"; });
  fast.ExpectServed();
}

TEST(BpeFiles, AddedTokensThatCannotBeServedAreRefused) {
  const auto refused = [](const std::string& id, const json& token, const std::string& what) {
    Directory directory("bart_cnn");
    directory.Change("tokenizer_config.json",
                     [&](json* config) { (*config)["added_tokens_decoder"][id] = token; });
    directory.ExpectRefused("tokenizer_config.json", what);
  };
  refused("640", {{"content", "{{"}, {"special", false}},
          "has id 640, the model's vocab_size is 640");
  refused("608", {{"content", "{{"}, {"special", false}},
          "has id 608, but transformers gives it 606");
  refused("7", {{"content", "a"}, {"special", false}}, "has id 7, but transformers gives it 68");
  Directory ends("bart_cnn");
  ends.Change("tokenizer_config.json", [](json* config) { (*config)["sep_token"] = "[SEP]"; });
  ends.ExpectRefused("vocab.json", "no piece is \"[SEP]\", the sep_token");
}

}  // namespace
}  // namespace precis
