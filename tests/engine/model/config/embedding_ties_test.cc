// Which matrix encoder, decoder and the vocabulary's scores read, for every subset of the four
// names with values that all differ, by tie_weights() of transformers 5.5.4: a tiny T5 and mT5
// saved with these tensors, loaded with from_pretrained, each use compared with all four
// (make_embedding_ties.py wrote embedding_ties.json).
#include "engine/model/config/embedding_ties.h"

#include <fstream>
#include <map>
#include <string>

#include "engine/model/families/family.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using nlohmann::json;
using testing::Filled;
using testing::RawTensor;

// `values`: name of a tensor to what it is filled with.
StatusOr<EmbeddingNames> Resolve(const std::map<std::string, float>& values,
                                 const std::string& model_type) {
  const testing::TempDir dir;
  std::map<std::string, RawTensor> tensors = {{"encoder.final_layer_norm.weight", Filled({2}, 1)}};
  for (const auto& [name, value] : values) tensors[name] = Filled({3, 2}, value);
  dir.Write("model.safetensors", testing::SafetensorsBytes(tensors));
  auto checkpoint = Checkpoint::Open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  const json config = {{"model_type", model_type}};
  const auto architecture = DescribeArchitecture(JsonKeys("config.json", "", config));
  EXPECT_TRUE(architecture.ok()) << architecture.status();
  return ResolveEmbeddings(**checkpoint, architecture->names.embedding);
}

TEST(EmbeddingTies, AreThoseOfTransformers) {
  std::ifstream file("tests/engine/model/embedding_ties.json");
  const json cases = json::parse(file);
  EXPECT_GE(cases.size(), 60u);
  for (const json& c : cases) {
    const auto values = c.at("values").get<std::map<std::string, float>>();
    const auto names = Resolve(values, c.at("model_type"));
    ASSERT_TRUE(names.ok()) << c << names.status();
    EXPECT_EQ(values.at(names->encoder), c.at("encoder").get<float>()) << c;
    EXPECT_EQ(values.at(names->decoder), c.at("decoder").get<float>()) << c;
    EXPECT_EQ(values.at(names->lm_head), c.at("lm_head").get<float>()) << c;
  }
}

TEST(EmbeddingTies, OneNameIsReadForAllThatAreTheSame) {
  for (const char* model_type : {"t5", "mt5"}) {
    const auto names = Resolve({{"shared.weight", 1},
                                {"encoder.embed_tokens.weight", 1},
                                {"decoder.embed_tokens.weight", 1},
                                {"lm_head.weight", 1}},
                               model_type);
    ASSERT_TRUE(names.ok()) << names.status();
    EXPECT_EQ(names->encoder, "shared.weight");
    EXPECT_EQ(names->decoder, "shared.weight");
    EXPECT_EQ(names->lm_head, "shared.weight");
  }
}

TEST(EmbeddingTies, WithoutAnyNameIsAnError) {
  const auto names = Resolve({}, "t5");
  EXPECT_EQ(names.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(names.status().message()),
              ::testing::HasSubstr("shared.weight: tensor is missing"));
}

}  // namespace
}  // namespace precis
