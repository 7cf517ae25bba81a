// What `precis convert` writes, what it refuses, and that it leaves nothing behind.
#include "tools/convert/convert.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/families/t5_common.h"
#include "gmock/gmock.h"
#include "tests/tools/convert/convert_testing.h"

namespace precis {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using testing::CopyAsMha;
using testing::CopyFixture;
using testing::CopyFixtureWith;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LoadedKv;
using ::testing::Not;
using testing::ReadAll;
using testing::ReadJson;
using testing::TempDir;

constexpr const char* kSelfK = "decoder.block.0.layer.0.SelfAttention.k.weight";

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() : source_(dir_ / "source"), destination_(dir_ / "made") {}

  ConvertOptions Options(const std::string& variant, uint32_t kv_heads) const {
    ConvertOptions options;
    options.source = source_;
    options.destination = destination_;
    options.variant = variant;
    options.kv_heads = kv_heads;
    return options;
  }
  ConvertOptions Fold(const std::string& fold) const {
    ConvertOptions options = Options("", 0);
    options.fold = fold;
    return options;
  }
  ConvertReport Converted(const ConvertOptions& options) {
    const auto report = Convert(options);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : ConvertReport();
  }
  // The one line of a conversion that was refused, which left nothing behind.
  std::string Refused(const ConvertOptions& options) {
    const size_t before = Entries();
    const auto report = Convert(options);
    EXPECT_FALSE(report.ok());
    EXPECT_EQ(Entries(), before);
    const std::string message(report.status().message());
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    return message;
  }
  size_t Entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_.path()), {}));
  }
  nlohmann::json Config() const { return ReadJson(destination_ + "/config.json"); }

  // The values of an f32 tensor of the source, changed.
  void Change(const std::string& name, const std::function<void(std::vector<float>&)>& change) {
    const std::string path = source_ + "/model.safetensors";
    std::string bytes = ReadAll(path);
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof(length));
    const auto offsets = nlohmann::json::parse(bytes.substr(8, length))[name]["data_offsets"];
    char* const begin = &bytes[8 + length + offsets[0].get<size_t>()];
    std::vector<float> values((offsets[1].get<size_t>() - offsets[0].get<size_t>()) / 4);
    std::memcpy(values.data(), begin, values.size() * 4);
    change(values);
    std::memcpy(begin, values.data(), values.size() * 4);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  void Spoil(const std::string& name, size_t index, float value) {
    Change(name, [&](std::vector<float>& values) { values[index] = value; });
  }
  void Zero(const std::string& name) {
    Change(name, [](std::vector<float>& values) { std::ranges::fill(values, 0.0f); });
  }

  TempDir dir_;
  const std::string source_;
  const std::string destination_;
};

TEST_F(ConvertTest, GqaIsTheMeanThatTheLoaderMakes) {
  CopyFixture("gqa_g2_from_mha", dir_ / "pooled_at_load");
  CopyAsMha("gqa_g2_from_mha", source_);
  const ConvertReport report = Converted(Options("gqa", 2));
  EXPECT_EQ(LoadedKv(destination_), LoadedKv(dir_ / "pooled_at_load"));
  EXPECT_EQ(*(*Checkpoint::Open(destination_))->Shape(kSelfK), (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(Config()["attention_variant"], "gqa");
  EXPECT_EQ(Config()["num_key_value_heads"], 2);
  EXPECT_EQ(report.source_variant, "mha");
  EXPECT_THAT(report.self_kv_heads, ElementsAre(2, 2));
  EXPECT_EQ(report.source_token_bytes * 2, report.mha_token_bytes);
  EXPECT_THAT(report.not_copied, ElementsAre("golden.json"));
}

TEST_F(ConvertTest, WeightedVariantsStartAtTheMean) {
  CopyAsMha("gqa_g2_from_mha", source_);
  CopyFixture("gqa_g2_from_mha", dir_ / "pooled");
  for (const auto& [variant, columns] :
       {std::pair("wgqa", 1), std::pair("colwgqa", 16), std::pair("rowwgqa", 64)}) {
    fs::remove_all(destination_);
    Converted(Options(variant, 2));
    EXPECT_EQ(LoadedKv(destination_), LoadedKv(dir_ / "pooled")) << variant;
    const auto made = Checkpoint::Open(destination_);
    for (const char* name : {"decoder.block.1.layer.0.SelfAttention.wk1",
                             "decoder.block.1.layer.1.EncDecAttention.wv1"}) {
      const auto values = (*made)->Read(name, {4, columns});
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_THAT(*values, ::testing::Each(0.5f));
    }
    EXPECT_EQ(Config()["attention_variant"], variant);
  }
}

// The squares of keys that their pages keep are counted among the bytes of a token.
TEST_F(ConvertTest, VariantsThatFollowTheSequenceArePooledLikeGqa) {
  CopyAsMha("gqa_g2_from_mha", source_);
  CopyFixture("gqa_g2_from_mha", dir_ / "pooled");
  for (const auto& [variant, bytes] :
       {std::pair("kdgqa", 2 * 2 * (2 * 16 * 2 + 4)),
        std::pair("dgqa_diff", 2 * 2 * (2 * 16 * 2 + 4)),
        std::pair("dgqa_ema", 2 * 2 * (2 * 16 * 2 + 4)), std::pair("pgqa", 2 * 2 * 2 * 16 * 2)}) {
    fs::remove_all(destination_);
    const ConvertReport report = Converted(Options(variant, 2));
    EXPECT_EQ(report.new_token_bytes, static_cast<uint64_t>(bytes)) << variant;
    EXPECT_EQ(LoadedKv(destination_), LoadedKv(dir_ / "pooled")) << variant;
    EXPECT_EQ(Config()["attention_variant"], variant);
    const auto made = Checkpoint::Open(destination_);
    for (const char* attention : {"0.layer.0.SelfAttention.", "1.layer.1.EncDecAttention."}) {
      const std::string name = std::string("decoder.block.") + attention + "cached_norm";
      const bool has_one = std::string(variant).starts_with("dgqa");
      EXPECT_EQ((*made)->Has(name), has_one) << variant;
      if (!has_one) continue;
      EXPECT_THAT(*(*made)->Read(name, {2}), ElementsAre(0.0f, 0.0f));
    }
  }
}

TEST_F(ConvertTest, WhatFollowsTheSequenceDoesNotFold) {
  for (const auto& [fixture, why] : {std::pair("kdgqa_g2", "kdgqa has no fixed groups"),
                                     std::pair("dgqa_ema_g2", "dgqa_ema has no fixed groups"),
                                     std::pair("pgqa_g2", "pgqa subtracts noise")}) {
    fs::remove_all(source_);
    CopyFixture(fixture, source_);
    for (const char* to : {"gqa", "mha"}) {
      EXPECT_THAT(Refused(Fold(to)), AllOf(HasSubstr("config.json"), HasSubstr(why)));
    }
  }
}

TEST_F(ConvertTest, RandomWeightsAreStandardNormalAndFollowTheSeed) {
  CopyAsMha("gqa_g2_from_mha", source_);
  ConvertOptions options = Options("rowwgqa", 2);
  options.random_weights = true;
  std::vector<std::vector<float>> drawn;
  for (const uint64_t seed : {5u, 5u, 6u}) {
    fs::remove_all(destination_);
    options.seed = seed;
    Converted(options);
    const auto made = Checkpoint::Open(destination_);
    drawn.push_back(*(*made)->Read("decoder.block.0.layer.0.SelfAttention.wk1", {4, 64}));
    drawn.push_back(*(*made)->Read("decoder.block.0.layer.0.SelfAttention.wv1", {4, 64}));
  }
  EXPECT_EQ(drawn[0], drawn[2]);
  EXPECT_NE(drawn[0], drawn[4]);
  EXPECT_NE(drawn[0], drawn[1]);
  double sum = 0, squares = 0;
  for (const float value : drawn[0]) {
    sum += value;
    squares += double{value} * value;
  }
  EXPECT_NEAR(sum / 256, 0, 0.25);
  EXPECT_NEAR(squares / 256, 1, 0.35);
}

TEST_F(ConvertTest, AllHeadsAreMhaInEveryVariant) {
  CopyAsMha("qcqa", source_);  // 8 heads
  for (const char* variant : {"gqa", "wgqa", "simgqa", "qcqa"}) {
    fs::remove_all(destination_);
    const ConvertReport report = Converted(Options(variant, 8));
    EXPECT_EQ(report.source_token_bytes, report.mha_token_bytes) << variant;
    const auto config = LoadModelConfig(destination_);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto made = Checkpoint::Open(destination_);
    const auto attention = ResolveAttention(*config, **made);
    ASSERT_TRUE(attention.ok()) << attention.status();
    EXPECT_EQ(attention->num_kv_heads, 8u) << variant;
    for (const HeadGrouping& grouping : Groupings(*config, *attention).cross) {
      EXPECT_EQ(grouping.groups.size(), 8u) << variant;
    }
  }
}

TEST_F(ConvertTest, SimGqaWritesAPermutationPerAttentionAndKeepsTheTensors) {
  CopyAsMha("simgqa_g2", source_);
  Converted(Options("simgqa", 2));
  EXPECT_EQ(ReadAll(destination_ + "/model.safetensors").size(),
            ReadAll(source_ + "/model.safetensors").size());
  const auto config = LoadModelConfig(destination_);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->listed_groups.self.size(), 2u);
  EXPECT_EQ(config->listed_groups.cross[1].groups.size(), 2u);
  EXPECT_EQ(LoadedKv(destination_).size(), 8u);
}

TEST_F(ConvertTest, QcqaStaysWithinItsBudgetAndWritesItsCurve) {
  CopyAsMha("qcqa", source_);  // 8 heads, 2 decoder layers
  const ConvertReport report = Converted(Options("qcqa", 3));
  for (const auto* counts : {&report.self_kv_heads, &report.cross_kv_heads}) {
    ASSERT_EQ(counts->size(), 2u);
    EXPECT_EQ((*counts)[0] + (*counts)[1], 6u);
  }
  ASSERT_EQ(report.curve.size(), 15u);  // 2 to 16 heads of both layers
  for (size_t i = 0; i < report.curve.size(); ++i) {
    const CapacityPoint& point = report.curve[i];
    if (i > 0) {
      EXPECT_LE(point.self_error, report.curve[i - 1].self_error);
    }
    if (point.gqa_self_error < 0) continue;
    EXPECT_LE(point.self_error, point.gqa_self_error);
    EXPECT_LE(point.cross_error, point.gqa_cross_error);
  }
  EXPECT_EQ(report.curve.back().self_error, 0);
  const std::string csv = ReadAll(destination_ + "/qcqa_curve.csv");
  EXPECT_EQ(std::ranges::count(csv, '\n'), 16);
  EXPECT_THAT(ReadAll(destination_ + "/qcqa_curve.svg"), HasSubstr("<polyline"));
  EXPECT_EQ(LoadedKv(destination_).size(), 8u);
}

TEST_F(ConvertTest, QcqaFindsHeadsThatAreCopiesOfEachOther) {
  CopyAsMha("qcqa", source_);
  const std::vector<uint32_t> copy_of = {0, 1, 1, 3, 4, 0, 3, 1};
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (const bool cross : {false, true}) {
      for (const char* name : {"k.weight", "v.weight"}) {
        Change(T5Names().DecoderAttention(layer, cross) + name, [&](std::vector<float>& values) {
          const size_t size = values.size() / copy_of.size();
          for (size_t head = 0; head < copy_of.size(); ++head) {
            std::copy_n(&values[size * copy_of[head]], size, &values[size * head]);
          }
        });
      }
    }
  }
  Converted(Options("qcqa", 4));
  const auto config = LoadModelConfig(destination_);
  ASSERT_TRUE(config.ok()) << config.status();
  for (const auto* layers : {&config->listed_groups.self, &config->listed_groups.cross}) {
    for (const HeadGrouping& grouping : *layers) {
      EXPECT_THAT(grouping.groups, ElementsAre(ElementsAre(0, 5), ElementsAre(1, 2, 7),
                                               ElementsAre(3, 6), ElementsAre(4)));
    }
  }
  EXPECT_EQ(*config->num_key_value_heads, 4u);
}

TEST_F(ConvertTest, KvBytesTakesTheMostHeadsThatFit) {
  CopyAsMha("qcqa", source_);  // 8 heads of 16, 2 layers: 128 bytes a KV head in bf16
  ConvertOptions options = Options("gqa", 0);
  options.kv_bytes = 128 * 3 + 127;
  EXPECT_THAT(Converted(options).self_kv_heads, ElementsAre(2, 2));
  fs::remove_all(destination_);
  options.variant = "qcqa";
  const ConvertReport report = Converted(options);
  EXPECT_EQ(report.source_token_bytes, 128u * 3 + 64);
  EXPECT_EQ(report.new_token_bytes, 128u * 3 + 64);
  fs::remove_all(destination_);
  options.kv_bytes = 127;
  EXPECT_THAT(Refused(options), HasSubstr("--kv-bytes: 127 is less than the 128 that one KV head"));
}

TEST_F(ConvertTest, FoldGqaGivesTheBitsThatTheLoaderFolds) {
  for (const char* fixture :
       {"wgqa_g2", "colwgqa_g2", "rowwgqa_g2", "wmqa", "rand_wgqa_g4", "gqa_g2_from_mha"}) {
    fs::remove_all(source_);
    fs::remove_all(destination_);
    CopyFixture(fixture, source_);
    const ConvertReport report = Converted(Fold("gqa"));
    EXPECT_EQ(LoadedKv(destination_), LoadedKv(source_)) << fixture;
    EXPECT_EQ(report.variant, std::string(fixture) == "wmqa" ? "mqa" : "gqa");
    const auto made = Checkpoint::Open(destination_);
    EXPECT_FALSE((*made)->Has("decoder.block.0.layer.0.SelfAttention.wk1")) << fixture;
  }
}

TEST_F(ConvertTest, FoldMhaRepeatsTheHeadOfEachGroup) {
  CopyFixture("qcqa", source_);
  Converted(Fold("mha"));
  EXPECT_EQ(Config()["attention_variant"], "mha");
  EXPECT_EQ(Config()["num_key_value_heads"], 8);
  EXPECT_FALSE(Config().contains("head_groups"));
  const auto groups = LoadModelConfig(source_)->listed_groups;
  const auto grouped = LoadedKv(source_);
  const auto repeated = LoadedKv(destination_);
  ASSERT_EQ(grouped.size(), 8u);
  for (size_t i = 0; i < grouped.size(); ++i) {
    const size_t layer = i / 4;
    const HeadGrouping& grouping = i % 4 < 2 ? groups.self[layer] : groups.cross[layer];
    const size_t size = repeated[i].size() / 8;
    for (size_t g = 0; g < grouping.groups.size(); ++g) {
      for (const uint32_t head : grouping.groups[g]) {
        EXPECT_TRUE(std::equal(&grouped[i][g * size], &grouped[i][g * size] + size,
                               &repeated[i][head * size]))
            << i << " head " << head;
      }
    }
  }
}

// As the authors leave them: no word about the grouping in config.json, weights beside k and v.
TEST_F(ConvertTest, AuthorsCheckpointsTakeTheirKvHeadsFromTheFlag) {
  CopyFixture("wgqa_g2", dir_ / "told");
  CopyFixtureWith("wgqa_g2", source_,
                  {{"attention_variant", nullptr}, {"num_key_value_heads", nullptr}});
  EXPECT_THAT(Refused(Fold("gqa")), HasSubstr("num_key_value_heads: is missing"));
  ConvertOptions options = Fold("gqa");
  options.kv_heads = 3;
  EXPECT_THAT(Refused(options), HasSubstr("--kv-heads: 3 does not divide num_heads 4"));
  options.kv_heads = 2;
  Converted(options);
  EXPECT_EQ(LoadedKv(destination_), LoadedKv(dir_ / "told"));
}

TEST_F(ConvertTest, ShardsStayShardsAndCopiedTensorsKeepTheirBytes) {
  CopyAsMha("sharded", source_);
  Converted(Options("wgqa", 2));
  EXPECT_TRUE(fs::exists(destination_ + "/model-00002-of-00002.safetensors"));
  EXPECT_FALSE(fs::exists(destination_ + "/model.safetensors"));
  const auto before = Checkpoint::Open(source_);
  const auto after = Checkpoint::Open(destination_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ((*after)->names().size(), (*before)->names().size() + 8);
  for (const std::string& name : (*before)->names()) {
    const auto shape = *(*before)->Shape(name);
    EXPECT_EQ(*(*before)->Read(name, shape), *(*after)->Read(name, shape)) << name;
  }
  const auto index = ReadJson(destination_ + "/model.safetensors.index.json");
  EXPECT_GT(index["metadata"]["total_size"].get<uint64_t>(), 100'000u);
}

TEST_F(ConvertTest, TypesStayWhereValuesAreCopiedAndFoldsAreF32) {
  for (const auto& [fixture, type] : {std::pair("bf16_weights", "BF16"), {"fp16_weights", "F16"}}) {
    fs::remove_all(source_);
    fs::remove_all(destination_);
    CopyAsMha(fixture, source_);
    Converted(Options("gqa", 2));
    const auto made = Checkpoint::Open(destination_);
    EXPECT_EQ((*(*made)->Stored("shared.weight"))->dtype_name, type);
    EXPECT_EQ((*(*made)->Stored(kSelfK))->dtype_name, "F32");
  }
}

TEST_F(ConvertTest, KeepsUnknownKeysTokenizerAndGenerationDefaults) {
  CopyFixtureWith("t5_v10_relu_tied", source_, {{"of_somebody_else", {{"a", {1, 2.5}}}}});
  for (const char* name : {"vocab.json", "merges.txt"}) {
    fs::copy_file(std::string("tests/golden/families/bart_cnn/") + name, source_ + "/" + name);
  }
  Converted(Options("mqa", 0));
  nlohmann::json before = ReadJson(source_ + "/config.json");
  nlohmann::json after = Config();
  EXPECT_EQ(after["of_somebody_else"], before["of_somebody_else"]);
  for (const char* key : {"attention_variant", "num_key_value_heads"}) {
    before.erase(key);
    after.erase(key);
  }
  EXPECT_EQ(before, after);
  for (const char* name : {"spiece.model", "generation_config.json", "vocab.json", "merges.txt"}) {
    EXPECT_EQ(ReadAll(destination_ + "/" + name), ReadAll(source_ + "/" + name));
  }
  EXPECT_FALSE(fs::exists(destination_ + "/golden.json"));
}

TEST_F(ConvertTest, NeverOverwrites) {
  CopyAsMha("gqa_g2_from_mha", source_);
  fs::create_directory(destination_);
  EXPECT_THAT(Refused(Options("gqa", 2)), AllOf(HasSubstr(destination_), HasSubstr("already")));
  EXPECT_TRUE(fs::is_empty(destination_));
  fs::remove(destination_);
  fs::create_symlink("nowhere", destination_);
  EXPECT_THAT(Refused(Options("gqa", 2)), HasSubstr("is there already"));
  ConvertOptions nowhere = Options("gqa", 2);
  nowhere.destination = dir_ / "no/such";
  EXPECT_THAT(Refused(nowhere), HasSubstr("/no is no directory"));
  ConvertOptions onto_itself = Options("gqa", 2);
  onto_itself.destination = source_ + "/";
  EXPECT_THAT(Refused(onto_itself), HasSubstr("is there already"));
}

TEST_F(ConvertTest, DestinationMadeMeanwhileIsKept) {
  CopyAsMha("gqa_g2_from_mha", source_);
  ConvertOptions options = Options("gqa", 2);
  options.on_progress = [this](const ConvertProgress& p) {
    if (p.phase == 1) fs::create_directories(destination_);
  };
  EXPECT_THAT(std::string(Convert(options).status().message()), HasSubstr("is there already"));
  EXPECT_TRUE(fs::is_empty(destination_));
  EXPECT_EQ(Entries(), 2u);
}

// Stopped at every point at which it asks, it leaves nothing.
TEST_F(ConvertTest, InterruptedAnywhereLeavesNothing) {
  CopyAsMha("qcqa", source_);
  ConvertOptions options = Options("qcqa", 3);
  size_t asked = 0;
  options.is_cancelled = [&asked] { return ++asked == SIZE_MAX; };
  Converted(options);
  fs::remove_all(destination_);
  const size_t all = asked;
  ASSERT_GT(all, 50u);
  size_t stopped = 0;
  for (size_t at = 1; at <= all; at += at < 5 || at + 5 > all ? 1 : 9) {
    asked = 0;
    options.is_cancelled = [&asked, at] { return ++asked == at; };
    const auto report = Convert(options);
    EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled) << at;
    ASSERT_EQ(Entries(), 1u) << at;
    ++stopped;
  }
  EXPECT_GT(stopped, 10u);
}

TEST_F(ConvertTest, NoRoomOnTheDiskLeavesNothing) {
  CopyAsMha("gqa_g2_from_mha", source_);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 100'000, .rlim_max = old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto report = Convert(Options("gqa", 2));
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(std::string(report.status().message()),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("cannot write")));
  EXPECT_EQ(Entries(), 1u);
}

// A tensor of 96 MiB beside the fixture's small ones: it goes by in pieces.
TEST_F(ConvertTest, MemoryIsNotThatOfTheLargestTensorItCopies) {
  constexpr uint64_t kLarge = 96u << 20;
  CopyAsMha("gqa_g2_from_mha", source_);
  const std::string path = source_ + "/model.safetensors";
  const std::string bytes = ReadAll(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  auto header = nlohmann::json::parse(bytes.substr(8, length));
  const uint64_t data = bytes.size() - 8 - length;
  const int64_t values = kLarge / 4;
  header["large"] = {
      {"dtype", "F32"}, {"shape", {values}}, {"data_offsets", {data, data + kLarge}}};
  const std::string whole = testing::SafetensorsBytes(header.dump(), bytes.substr(8 + length));
  std::ofstream(path, std::ios::binary) << whole;
  fs::resize_file(path, whole.size() + kLarge);  // a hole of zeros
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  Converted(Options("gqa", 2));
  EXPECT_LT(peak_kib() - before, 32 << 10);
  const auto made = Checkpoint::Open(destination_);
  EXPECT_TRUE((*made)->Read("large", {values}).ok());
  EXPECT_GT(peak_kib() - before, 64 << 10);  // what holding it would have shown
}

TEST_F(ConvertTest, RefusesWordsThatMakeNoSense) {
  CopyAsMha("qcqa", source_);
  EXPECT_THAT(Refused(Options("wmqa", 1)),
              HasSubstr("'wmqa' is unknown; known are gqa, mqa, wgqa"));
  EXPECT_THAT(Refused(Options("", 2)), HasSubstr("either --variant or --fold"));
  EXPECT_THAT(Refused(Options("gqa", 0)), HasSubstr("either --kv-heads or --kv-bytes"));
  EXPECT_THAT(Refused(Options("mqa", 2)), HasSubstr("mqa has one KV head"));
  EXPECT_THAT(Refused(Options("simgqa", 9)), HasSubstr("9 is more than num_heads 8"));
  for (const char* variant : {"gqa", "wgqa", "colwgqa", "rowwgqa", "simgqa"}) {
    EXPECT_THAT(Refused(Options(variant, 3)),
                AllOf(HasSubstr("--kv-heads: 3 does not divide num_heads 8"), HasSubstr(variant)));
  }
  ConvertOptions random = Options("gqa", 2);
  random.random_weights = true;
  EXPECT_THAT(Refused(random), HasSubstr("gqa has no head weights"));
  EXPECT_THAT(Refused(Fold("wgqa")), HasSubstr("--fold: 'wgqa' is unknown"));
}

TEST_F(ConvertTest, RefusesSourcesThatAreGroupedAlready) {
  for (const char* fixture : {"gqa_g2", "gqa_g2_from_mha", "wgqa_g2", "simgqa_g2", "qcqa"}) {
    fs::remove_all(source_);
    CopyFixture(fixture, source_);
    EXPECT_THAT(Refused(Options("gqa", 2)),
                AllOf(HasSubstr("config.json: attention_variant: is "), HasSubstr("--fold mha")));
  }
  EXPECT_THAT(Refused(Fold("gqa")), HasSubstr("are no neighbours"));
  fs::remove_all(source_);
  CopyFixture("gqa_g2", source_);
  EXPECT_THAT(Refused(Fold("gqa")), AllOf(HasSubstr(kSelfK), HasSubstr("nothing to fold")));
  fs::remove_all(source_);
  CopyAsMha("qcqa", source_);
  EXPECT_THAT(Refused(Fold("mha")), HasSubstr("is mha: there is nothing to fold"));
}

TEST_F(ConvertTest, RefusesGroupsAndOrdersThatAreNoPartition) {
  CopyFixture("qcqa", source_);
  nlohmann::json config = ReadJson(source_ + "/config.json");
  config["head_groups"]["cross"][1] = {{0, 1, 2, 3}, {4, 5, 6}};
  std::ofstream(source_ + "/config.json") << config;
  EXPECT_THAT(Refused(Fold("mha")),
              HasSubstr("head_groups.cross, layer 1: head 7 of 8 is missing"));
  fs::remove_all(source_);
  CopyFixture("simgqa_g2", source_);
  config = ReadJson(source_ + "/config.json");
  config["head_order"]["self"][0] = {0, 1, 1, 2};
  std::ofstream(source_ + "/config.json") << config;
  EXPECT_THAT(Refused(Fold("mha")), HasSubstr("head_order.self, layer 0: head 1 is there twice"));
}

TEST_F(ConvertTest, RefusesValuesThatNobodyTrained) {
  const std::string encoder = "encoder.block.0.layer.1.DenseReluDense.wo.weight";
  for (const char* variant : {"gqa", "qcqa"}) {
    for (const std::string& name : {std::string(kSelfK), encoder}) {
      fs::remove_all(source_);
      CopyAsMha("gqa_g2_from_mha", source_);
      Spoil(name, 5, std::numeric_limits<float>::quiet_NaN());
      EXPECT_THAT(Refused(Options(variant, 2)),
                  AllOf(HasSubstr(name), HasSubstr("index 5 is not finite")));
    }
    fs::remove_all(source_);
    CopyAsMha("gqa_g2_from_mha", source_);
    Zero(kSelfK);
    EXPECT_THAT(Refused(Options(variant, 2)), AllOf(HasSubstr(kSelfK), HasSubstr("zero")));
  }
  fs::remove_all(source_);
  CopyFixture("wgqa_g2", source_);
  Zero("decoder.block.1.layer.1.EncDecAttention.wv1");
  EXPECT_THAT(Refused(Fold("gqa")),
              AllOf(HasSubstr("decoder.block.1.layer.1.EncDecAttention.wv1"), HasSubstr("zero")));
}

TEST_F(ConvertTest, RefusesShapesBeforeItWrites) {
  CopyFixtureWith("gqa_g2", source_, {{"attention_variant", "mha"}, {"num_key_value_heads", 8}});
  EXPECT_THAT(Refused(Options("wgqa", 2)),
              AllOf(HasSubstr(kSelfK), HasSubstr("[32, 64] in the file, [128, 64] expected")));
}

TEST_F(ConvertTest, ProgressRisesToItsEnd) {
  CopyAsMha("qcqa", source_);
  ConvertOptions options = Options("qcqa", 2);
  double last = 0;
  options.on_progress = [&last](const ConvertProgress& p) {
    const double now = (static_cast<double>(p.phase) + p.fraction) / double(p.num_phases);
    EXPECT_GE(now, last);
    EXPECT_LE(p.fraction, 1);
    last = now;
  };
  Converted(options);
  EXPECT_EQ(last, 1);
}

}  // namespace
}  // namespace precis
