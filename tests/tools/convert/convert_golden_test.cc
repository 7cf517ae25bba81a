// Converted checkpoints, served: what a fold gives is what its source gives.
#include <cmath>
#include <string>

#include "engine/load/load_model.h"
#include "engine/load/model_probe.h"
#include "gmock/gmock.h"
#include "tests/tools/convert/convert_testing.h"
#include "tools/verify/golden_file.h"
#include "tools/verify/verify.h"

namespace precis {
namespace {

namespace fs = std::filesystem;
using testing::CopyAsMha;
using testing::CopyFixture;
using testing::TempDir;

VerifyOptions OptionsFor(const std::string& dir) {
  VerifyOptions options;
  options.engine.model_dir = dir;
  options.engine.device = PRECIS_TEST_CPU_BACKEND ? "cpu" : "ref";
  options.engine.threads = 2;
  options.engine.dtype = options.engine.kv_dtype = "f32";
  options.engine.pool_bytes = 64u << 20;
  options.engine.max_source_tokens = 256;
  options.engine.max_new_tokens = 64;
  return options;
}

// Every id, score and logit of the fixture's golden.json by the checkpoint in `dir`.
void ExpectGolden(const std::string& fixture, const std::string& dir) {
  fs::copy("tests/golden/" + fixture + "/golden.json", dir + "/golden.json");
  const auto report = Verify(OptionsFor(dir), {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << fixture << ": " << check.name << ": " << check.detail;
  }
  EXPECT_GE(report->passed(), 10u);
}

std::vector<float> LogitsOf(const std::string& dir, const GoldenCase& c) {
  auto loaded = LoadModel(OptionsFor(dir).engine);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return ModelProbe(*loaded->parts.model).Logits(c.input_ids, c.decoder_input_ids);
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  return largest;
}

// golden.json is a file of the user's: it may be that of a model with more positions.
TEST(VerifyGolden, ACaseBeyondTheModelsPositionsIsAFailedCheck) {
  const TempDir dir;
  CopyFixture("families/bart_layouts/saved_5", dir / "model");
  nlohmann::json golden =
      testing::ReadJson("tests/golden/families/bart_layouts/saved_5/golden.json");
  golden.erase("batches");
  golden["cases"].erase(1);
  nlohmann::json& one = golden["cases"][0];
  one["input_ids"] = std::vector<int>(300, 5);
  one.erase("text");
  dir.Write("model/golden.json", golden.dump());
  const auto report = Verify(OptionsFor(dir / "model"), {});
  ASSERT_TRUE(report.ok()) << report.status();
  bool seen = false;
  for (const VerifyCheck& check : report->checks) {
    if (check.name.find(": positions") == std::string::npos) continue;
    seen = true;
    EXPECT_FALSE(check.passed);
    EXPECT_THAT(check.detail, ::testing::HasSubstr("300 tokens of the source"));
    EXPECT_THAT(check.detail, ::testing::HasSubstr("the model takes 64"));
  }
  EXPECT_TRUE(seen);
}

// A family with a bias in every layer.
TEST(ConvertGolden, AGroupedUmt5FoldedToMhaGivesTheSameLogits) {
  const TempDir dir;
  ConvertOptions options;
  options.source = "tests/golden/families/umt5";
  options.destination = dir / "gqa";
  options.variant = "gqa";
  options.kv_heads = 2;
  const auto grouped = Convert(options);
  ASSERT_TRUE(grouped.ok()) << grouped.status();
  ConvertOptions back;
  back.source = dir / "gqa";
  back.destination = dir / "mha";
  back.fold = "mha";
  const auto repeated = Convert(back);
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  const auto golden = LoadGolden("tests/golden/families/umt5/golden.json");
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_LT(LargestDifference(LogitsOf(dir / "gqa", golden->cases[2]),
                              LogitsOf(dir / "mha", golden->cases[2])),
            1e-4);
}

// The copy is safetensors, of the same values: transposed, tied and shifted tensors lie row-major.
TEST(ConvertGolden, APytorchModelBinBecomesSafetensors) {
  for (const char* fixture : {"families/t5_bin_zip", "families/t5_bin_legacy"}) {
    SCOPED_TRACE(fixture);
    const TempDir dir;
    ConvertOptions options;
    options.source = std::string("tests/golden/") + fixture;
    options.destination = dir / "made";
    options.variant = "gqa";  // of as many KV heads as query heads: a mean of one is a copy
    options.kv_heads = 4;
    const auto report = Convert(options);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->not_copied, std::vector<std::string>({"golden.json"}));
    EXPECT_TRUE(fs::exists(dir / "made/model.safetensors"));
    EXPECT_FALSE(fs::exists(dir / "made/pytorch_model.bin"));
    ExpectGolden(fixture, dir / "made");
  }
}

TEST(ConvertGolden, ShardsOfPytorchModelBinBecomeShardsOfSafetensors) {
  const TempDir dir;
  const std::string source = dir / "source", shard = "pytorch_model-00001-of-00001";
  fs::copy("tests/golden/families/t5_bin_zip", source);
  nlohmann::json index;
  for (const std::string& name : (*Checkpoint::Open(source))->names()) {
    index["weight_map"][name] = shard + ".bin";
  }
  fs::rename(source + "/pytorch_model.bin", source + "/" + shard + ".bin");
  dir.Write("source/pytorch_model.bin.index.json", index.dump());
  ConvertOptions options;
  options.source = source;
  options.destination = dir / "made";
  options.variant = "gqa";
  options.kv_heads = 2;
  const auto report = Convert(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->not_copied, std::vector<std::string>({"golden.json"}));
  EXPECT_TRUE(fs::exists(dir / "made/model-00001-of-00001.safetensors"));
  EXPECT_TRUE(fs::exists(dir / "made/model.safetensors.index.json"));
}

// BART's keys and values have biases, which are pooled as well.
TEST(ConvertGolden, MhaPooledToGqaIsTheGqaFixture) {
  for (const char* fixture : {"gqa_g2_from_mha", "families/bart_gqa_g2"}) {
    const TempDir dir;
    CopyAsMha(fixture, dir / "source");
    for (const char* variant : {"gqa", "wgqa"}) {
      ConvertOptions options;
      options.source = dir / "source";
      options.destination = dir / variant;
      options.variant = variant;
      options.kv_heads = 2;
      const auto report = Convert(options);
      ASSERT_TRUE(report.ok()) << report.status();
      ExpectGolden(fixture, dir / variant);
    }
  }
}

// Searched groupings have no golden of their own: the repeated heads are served as they are.
TEST(ConvertGolden, SearchedGroupingsAnswerLikeTheirHeadsRepeated) {
  const TempDir dir;
  CopyAsMha("qcqa", dir / "source");
  const auto golden = LoadGolden("tests/golden/qcqa/golden.json");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const std::vector<float> ungrouped = LogitsOf(dir / "source", golden->cases[1]);
  for (const char* variant : {"simgqa", "qcqa"}) {
    ConvertOptions options;
    options.source = dir / "source";
    options.destination = dir / variant;
    options.variant = variant;
    options.kv_heads = 4;
    ASSERT_TRUE(Convert(options).ok());
    ConvertOptions fold;
    fold.source = options.destination;
    fold.destination = dir / (std::string(variant) + "_mha");
    fold.fold = "mha";
    ASSERT_TRUE(Convert(fold).ok());
    const std::vector<float> grouped = LogitsOf(options.destination, golden->cases[1]);
    EXPECT_LE(LargestDifference(grouped, LogitsOf(fold.destination, golden->cases[1])), 1e-5);
    EXPECT_GT(LargestDifference(grouped, ungrouped), 1e-2) << variant;
  }
}

class ConvertGoldenFold : public ::testing::TestWithParam<const char*> {};

TEST_P(ConvertGoldenFold, AnswersAsItsSource) {
  const std::string fixture = GetParam();
  const auto golden = LoadGolden("tests/golden/" + fixture + "/golden.json");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const TempDir dir;
  CopyFixture(fixture, dir / "source");
  for (const char* to : {"gqa", "mha"}) {
    if (std::string(to) == "gqa" && (fixture == "qcqa" || fixture == "simgqa_g2")) continue;
    ConvertOptions options;
    options.source = dir / "source";
    options.destination = dir / to;
    options.fold = to;
    const auto report = Convert(options);
    ASSERT_TRUE(report.ok()) << report.status();
    for (const GoldenCase& c : golden->cases) {
      if (c.decoder_input_ids.empty()) continue;
      const double difference =
          LargestDifference(LogitsOf(dir / "source", c), LogitsOf(dir / to, c));
      EXPECT_LE(difference, 1e-5) << to << " " << c.name;
    }
    // The bits of a fold to gqa are those that the loader folds (convert_test).
    if (std::string(to) == "mha") ExpectGolden(fixture, dir / to);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ConvertGoldenFold,
                         ::testing::Values("wgqa_g2", "wmqa", "colwgqa_g2", "rowwgqa_g2",
                                           "rand_wgqa_g4", "simgqa_g2", "qcqa",
                                           "families/bart_wgqa_g2", "families/bart_colwgqa_g2",
                                           "families/bart_rowwgqa_g2"));

}  // namespace
}  // namespace precis
