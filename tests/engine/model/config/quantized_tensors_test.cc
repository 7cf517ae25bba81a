// Tensors that change what others mean: refused by name; plain weights are served, whatever
// quantization_config says.
#include "engine/model/config/quantized_tensors.h"

#include <filesystem>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using testing::Filled;
using ::testing::HasSubstr;
using testing::RawTensor;

constexpr char kWo[] = "encoder.block.0.layer.1.DenseReluDense.wo.";

// "" where a checkpoint with wo.weight and `more` is served, else the message.
std::string Refusal(const std::string& more, const ModelConfig& config = {}) {
  const testing::TempDir dir;
  dir.Write("model.safetensors",
            testing::SafetensorsBytes(
                {{std::string(kWo) + "weight", Filled({2, 2}, 1)}, {more, Filled({1}, 1)}}));
  auto checkpoint = Checkpoint::Open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return std::string(RefuseQuantized(**checkpoint, config).message());
}

TEST(QuantizedTensors, BesideAWeightAreRefusedByName) {
  for (const char* last : {"weight_scale", "input_scale", "weight.absmax", "weight.quant_map",
                           "SCB", "lora_A.weight", "lora_A.default.weight"}) {
    const std::string name = std::string(kWo) + last;
    EXPECT_THAT(Refusal(name), AllOf(HasSubstr("model.safetensors: " + name + ": "),
                                     HasSubstr(std::string(kWo) + "weight")))
        << last;
  }
}

TEST(QuantizedTensors, ScalesAnywhereAreRefusedByName) {
  for (const char* name :
       {"decoder.block.0.layer.0.SelfAttention.k_scale", "some.weight_zero_point"}) {
    EXPECT_THAT(Refusal(name), HasSubstr(std::string(name) + ": is a scale"));
  }
}

TEST(QuantizedTensors, TheMessageTellsTheMethod) {
  ModelConfig config;
  config.quantization = "\"compressed-tensors\"";
  EXPECT_THAT(Refusal(std::string(kWo) + "weight_scale", config),
              HasSubstr("(quantization_config: \"compressed-tensors\")"));
}

TEST(QuantizedTensors, OtherTensorsAndPlainWeightsAreNone) {
  ModelConfig config;
  config.quantization = "\"bitsandbytes\"";
  EXPECT_EQ(Refusal("classification_head.dense.weight", config), "");
  EXPECT_EQ(Refusal("encoder.block.0.layer.0.SelfAttention.wk1"), "");
  EXPECT_EQ(Refusal(std::string(kWo) + "bias"), "") << "transformers leaves it out, too";
}

TEST(QuantizedTensors, NoFixtureHasAny) {
  size_t fixtures = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("tests/golden")) {
    if (entry.path().filename() != "config.json") continue;
    const auto checkpoint = Checkpoint::Open(entry.path().parent_path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_TRUE(RefuseQuantized(**checkpoint, {}).ok()) << entry.path();
    ++fixtures;
  }
  EXPECT_GE(fixtures, 29u);
}

}  // namespace
}  // namespace precis
