// What a config.json of BART means. Values by BartConfig and modeling_bart.py of
// transformers 5.5.4.
#include <cmath>
#include <string>

#include "engine/model/families/family.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

json Minimal() {
  return json::parse(R"({"model_type": "bart", "d_model": 32, "vocab_size": 50})");
}
StatusOr<Architecture> Describe(const json& config) {
  return DescribeArchitecture(JsonKeys("config.json", "", config));
}

std::string ErrorWith(const std::string& key, const json& value) {
  json config = Minimal();
  config[key] = value;
  const auto described = Describe(config);
  EXPECT_FALSE(described.ok()) << key << " = " << value;
  return std::string(described.status().message());
}

TEST(Bart, AbsentKeysAreThoseOfTransformers) {
  const auto a = Describe({{"model_type", "bart"}});
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_EQ(a->d_model, 1024u);
  EXPECT_EQ(a->vocab_size, 50265u);
  for (const StackShape& stack : {a->encoder, a->decoder}) {
    EXPECT_EQ(stack.layers, 12u);
    EXPECT_EQ(stack.num_heads, 16u);
    EXPECT_EQ(stack.head_dim, 64u);
    EXPECT_EQ(stack.d_ff, 4096u);
    EXPECT_EQ(stack.max_positions, 1024u);
  }
  EXPECT_EQ(a->activation, ActivationKind::kGelu);
  EXPECT_FALSE(a->gated);
  EXPECT_EQ(a->embedding_scale, 1.0f);
  EXPECT_EQ(a->tokens.start, 2);
}

TEST(Bart, StacksHaveShapesOfTheirOwn) {
  json config = Minimal();
  config.update(json::parse(
      R"({"encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 4,
          "decoder_attention_heads": 8, "encoder_ffn_dim": 96, "decoder_ffn_dim": 128})"));
  const auto a = Describe(config);
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_EQ(a->encoder.layers, 3u);
  EXPECT_EQ(a->decoder.layers, 1u);
  EXPECT_EQ(a->encoder.head_dim, 8u);
  EXPECT_EQ(a->decoder.head_dim, 4u);
  EXPECT_EQ(a->encoder.d_ff, 96u);
  EXPECT_EQ(a->decoder.d_ff, 128u);
}

TEST(Bart, WhatTheClassDecidesNoKeyChanges) {
  json config = Minimal();
  config.update(json::parse(
      R"({"normalize_before": true, "normalize_embedding": false, "add_final_layer_norm": true,
          "static_position_embeddings": true, "extra_pos_embeddings": 0})"));
  const auto a = Describe(config);
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_EQ(a->norm_place, NormPlace::kAfter);
  EXPECT_TRUE(a->embedding_norm);
  EXPECT_FALSE(a->final_norm);
  ASSERT_TRUE(a->positions);
  EXPECT_EQ(a->positions->offset, 2u);
}

TEST(Bart, EmbeddingsAreScaledWhereTheFileSaysSo) {
  json config = Minimal();
  config["scale_embedding"] = true;
  const auto a = Describe(config);
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_FLOAT_EQ(a->embedding_scale, std::sqrt(32.0f));
}

TEST(Bart, ActivationsHaveTheirNamesOfTransformers) {
  const std::pair<const char*, ActivationKind> named[] = {{"relu", ActivationKind::kRelu},
                                                          {"gelu", ActivationKind::kGelu},
                                                          {"gelu_new", ActivationKind::kGeluTanh},
                                                          {"swish", ActivationKind::kSilu},
                                                          {"silu", ActivationKind::kSilu}};
  for (const auto& [name, kind] : named) {
    json config = Minimal();
    config["activation_function"] = name;
    const auto a = Describe(config);
    ASSERT_TRUE(a.ok()) << a.status();
    EXPECT_EQ(a->activation, kind) << name;
  }
  EXPECT_THAT(ErrorWith("activation_function", "tanh"),
              AllOf(HasSubstr("config.json: activation_function \"tanh\" is not served"),
                    HasSubstr("gelu")));
}

TEST(Bart, WhatCannotBeIsRefusedByName) {
  EXPECT_THAT(ErrorWith("decoder_attention_heads", 5u),
              HasSubstr("decoder_attention_heads: 5 does not divide d_model 32"));
  EXPECT_THAT(ErrorWith("max_position_embeddings", 1u), HasSubstr("max_position_embeddings: must"));
  EXPECT_THAT(ErrorWith("encoder_layers", 0), HasSubstr("encoder_layers: "));
  EXPECT_THAT(ErrorWith("d_model", nullptr), HasSubstr("d_model: is missing (null)"));
  EXPECT_THAT(ErrorWith("scale_embedding", 3), HasSubstr("scale_embedding: "));
  EXPECT_THAT(ErrorWith("pad_token_id", 50u), HasSubstr("pad_token_id: "));
}

}  // namespace
}  // namespace precis
