#include "engine/model/config/model_config.h"

#include <cmath>
#include <fstream>

#include "engine/model/config/attention_variant.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

json Minimal() {
  return json::parse(R"({"model_type": "t5", "d_model": 8, "d_kv": 3, "d_ff": 16, "num_heads": 4,
                         "num_layers": 2, "vocab_size": 50})");
}

StatusOr<ModelConfig> LoadText(const std::string& text) {
  const testing::TempDir dir;
  dir.Write("config.json", text);
  return LoadModelConfig(dir.path());
}
StatusOr<ModelConfig> Load(const json& config) { return LoadText(config.dump()); }

// The message for Minimal() with one key set otherwise.
std::string ErrorWith(const std::string& key, const json& value) {
  json config = Minimal();
  config[key] = value;
  const auto loaded = Load(config);
  EXPECT_FALSE(loaded.ok()) << key << " = " << value;
  const std::string message(loaded.status().message());
  EXPECT_THAT(message, Not(HasSubstr("\n"))) << "one line";
  EXPECT_THAT(message, HasSubstr("/config.json: ")) << "names the file";
  return message;
}

TEST(ModelConfig, DefaultsAreThoseOfTransformers) {
  const auto c = Load(Minimal());
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->decoder.head_dim, 3u);
  EXPECT_EQ(c->decoder.layers, 2u) << "as many as encoder layers";
  EXPECT_EQ(c->position_bias->num_buckets, 32u);
  EXPECT_EQ(c->position_bias->max_distance, 128u);
  EXPECT_FLOAT_EQ(c->norm_epsilon, 1e-6f);
  EXPECT_FALSE(c->gated);
  EXPECT_NE(c->logits_scale, 1.0f);
  EXPECT_THAT(c->tokens.ends, ElementsAre(1));
  EXPECT_EQ(c->n_positions, 0u);
  EXPECT_EQ(c->attention_variant, std::nullopt);
}

// By T5Config().to_dict() and MT5Config().to_dict() of transformers 5.5.4.
TEST(ModelConfig, AbsentKeysAreThoseOfTheFamily) {
  const auto t5 = Load({{"model_type", "t5"}});
  ASSERT_TRUE(t5.ok()) << t5.status();
  EXPECT_THAT(
      (std::vector<uint32_t>{t5->vocab_size, t5->d_model, t5->encoder.head_dim, t5->encoder.d_ff,
                             t5->encoder.layers, t5->decoder.layers, t5->encoder.num_heads}),
      ElementsAre(32128, 512, 64, 2048, 6, 6, 8));
  EXPECT_FALSE(t5->gated);
  EXPECT_NE(t5->logits_scale, 1.0f);
  const auto mt5 = Load({{"model_type", "mt5"}});
  ASSERT_TRUE(mt5.ok()) << mt5.status();
  EXPECT_THAT((std::vector<uint32_t>{mt5->vocab_size, mt5->d_model, mt5->encoder.head_dim,
                                     mt5->encoder.d_ff, mt5->encoder.layers, mt5->decoder.layers,
                                     mt5->encoder.num_heads}),
              ElementsAre(250112, 512, 64, 1024, 8, 8, 6));
  EXPECT_TRUE(mt5->gated);
  EXPECT_EQ(mt5->logits_scale, 1.0f);
}

// By T5Config.from_dict() of transformers 5.5.4: the other name wins, and the decoder's depth
// follows num_layers alone.
TEST(ModelConfig, SizesHaveASecondName) {
  json config = Minimal();
  config["hidden_size"] = 32;
  config["num_hidden_layers"] = 5;
  config["num_attention_heads"] = 8;
  config["head_dim"] = 7;
  const auto c = Load(config);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_THAT((std::vector<uint32_t>{c->d_model, c->encoder.layers, c->decoder.layers,
                                     c->decoder.num_heads, c->decoder.head_dim}),
              ElementsAre(32, 5, 2, 8, 7));
  EXPECT_THAT(ErrorWith("head_dim", 0), HasSubstr("head_dim: must be a whole number"));
}

TEST(ModelConfig, ReadsEveryFixture) {
  for (const char* name :
       {"t5_v11_gated_untied", "sharded", "loud", "qcqa", "wmqa", "fp16_weights"}) {
    const auto c = LoadModelConfig(std::string("tests/golden/") + name);
    EXPECT_TRUE(c.ok()) << c.status();
  }
  const auto odd = LoadModelConfig("tests/golden/odd_shapes");
  ASSERT_TRUE(odd.ok()) << odd.status();
  EXPECT_EQ(odd->d_model, 80u);
  EXPECT_EQ(odd->encoder.head_dim, 24u);
  EXPECT_EQ(odd->encoder.d_ff, 136u);
  EXPECT_EQ(odd->encoder.num_heads, 6u);
  EXPECT_EQ(odd->encoder.layers, 3u);
  EXPECT_EQ(odd->decoder.layers, 2u);
  EXPECT_EQ(odd->position_bias->num_buckets, 16u);
  EXPECT_EQ(odd->position_bias->max_distance, 64u);
  EXPECT_EQ(odd->vocab_size, 544u);
}

TEST(ModelConfig, ScalesByItsOwnKeyElseByTheTie) {
  json config = Minimal();
  config["tie_word_embeddings"] = false;
  EXPECT_EQ(Load(config)->logits_scale, 1.0f);
  config["scale_decoder_outputs"] = true;
  EXPECT_NE(Load(config)->logits_scale, 1.0f);
  config["tie_word_embeddings"] = true;
  config["scale_decoder_outputs"] = false;
  EXPECT_EQ(Load(config)->logits_scale, 1.0f) << "as transformers 5 writes v1.1";
  config["scale_decoder_outputs"] = nullptr;
  EXPECT_EQ(Load(config)->logits_scale, 1.0f) << "a null is no";
  config.erase("scale_decoder_outputs");
  config["tie_word_embeddings"] = nullptr;
  EXPECT_NE(Load(config)->logits_scale, 1.0f) << "not false";
}

// MT5ForConditionalGeneration of transformers 5.5.4 has no scaling.
TEST(ModelConfig, NoMt5ScalesWhateverItsFileSays) {
  json config = Minimal();
  config["model_type"] = "mt5";
  EXPECT_EQ(Load(config)->logits_scale, 1.0f);
  for (const char* key : {"tie_word_embeddings", "scale_decoder_outputs"}) {
    for (const bool said : {false, true}) {
      config[key] = said;
      EXPECT_EQ(Load(config)->logits_scale, 1.0f) << key << " " << said;
    }
  }
}

// UMT5ForConditionalGeneration of transformers 5.5.4 scales where tie_word_embeddings says so, and
// UMT5Config makes that true.
TEST(ModelConfig, EveryUmt5ScalesAndHasABiasInEveryLayer) {
  json config = Minimal();
  config["model_type"] = "umt5";
  for (const json& said : {json(nullptr), json(false), json(true)}) {
    config["tie_word_embeddings"] = said;
    const auto umt5 = Load(config);
    ASSERT_TRUE(umt5.ok()) << umt5.status();
    EXPECT_FLOAT_EQ(umt5->logits_scale, 1 / std::sqrt(8.0f));
    EXPECT_TRUE(umt5->position_bias->per_layer);
  }
  EXPECT_FALSE(Load(Minimal())->position_bias->per_layer);
  const auto absent = Load({{"model_type", "umt5"}});
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_EQ(absent->vocab_size, 250112u);
  EXPECT_EQ(absent->decoder.layers, 8u);
  EXPECT_TRUE(absent->gated);
}

TEST(ModelConfig, KeepsWhatQuantizationConfigSays) {
  EXPECT_EQ(Load(Minimal())->quantization, std::nullopt);
  json config = Minimal();
  config["quantization_config"] = {{"quant_method", "compressed-tensors"}, {"bits", 8}};
  EXPECT_EQ(Load(config)->quantization, "\"compressed-tensors\"");
  config["quantization_config"] = {{"bits", 8}};
  EXPECT_EQ(Load(config)->quantization, "{\"bits\":8}");
}

TEST(ModelConfig, RefusesOtherModelsByName) {
  for (const char* type : {"longt5", "byt5", "led", "T5"}) {
    EXPECT_THAT(ErrorWith("model_type", type),
                HasSubstr("\"" + std::string(type) + "\" is not served; t5, mt5, umt5 and bart are"));
  }
  EXPECT_THAT(ErrorWith("model_type", nullptr), HasSubstr("model_type: is missing"));
  EXPECT_THAT(ErrorWith("model_type", 5), HasSubstr("model_type: must be a string"));
}

TEST(ModelConfig, RefusesOtherActivationsByName) {
  EXPECT_THAT(ErrorWith("feed_forward_proj", "gated-silu"), HasSubstr("\"gated-silu\""));
  EXPECT_THAT(ErrorWith("feed_forward_proj", "gelu"), HasSubstr("\"gelu\""));
  EXPECT_THAT(ErrorWith("dense_act_fn", "silu"), HasSubstr("\"silu\""));
  EXPECT_THAT(ErrorWith("is_gated_act", true), HasSubstr("contradicts"));
  json config = Minimal();
  config["feed_forward_proj"] = "gated-gelu";
  config["dense_act_fn"] = "gelu_new";
  config["is_gated_act"] = true;
  EXPECT_TRUE(Load(config)->gated);
}

TEST(ModelConfig, ChecksEveryNumber) {
  for (const char* key :
       {"d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers", "vocab_size",
        "relative_attention_num_buckets", "relative_attention_max_distance"}) {
    for (const json& bad : {json(0), json(-4), json(3.5), json("8"), json(true), json(1u << 30),
                            json(uint64_t{1} << 63), json::array({8})}) {
      EXPECT_THAT(ErrorWith(key, bad), HasSubstr(std::string(key) + ": must be a whole number"));
    }
  }
  for (const char* key : {"d_model", "d_kv", "d_ff", "num_heads", "num_layers", "vocab_size"}) {
    EXPECT_THAT(ErrorWith(key, nullptr), HasSubstr(std::string(key) + ": is missing"));
  }
  for (const json& bad : {json(0), json(-1e-6), json(2), json("1e-6"), json(1e-40)}) {
    EXPECT_THAT(ErrorWith("layer_norm_epsilon", bad), HasSubstr("layer_norm_epsilon: must be"));
  }
  for (const char* key : {"eos_token_id", "pad_token_id", "decoder_start_token_id"}) {
    EXPECT_THAT(ErrorWith(key, 50), HasSubstr(key)) << "is outside the vocabulary";
    EXPECT_THAT(ErrorWith(key, -1), HasSubstr(key));
  }
}

TEST(ModelConfig, ChecksNumbersAgainstEachOther) {
  EXPECT_THAT(ErrorWith("d_kv", 1u << 23), HasSubstr("d_kv: num_heads x d_kv = 4 x 8388608"));
  EXPECT_THAT(ErrorWith("relative_attention_max_distance", 16),
              HasSubstr("relative_attention_max_distance: 16 must be more than half"));
  EXPECT_THAT(ErrorWith("num_key_value_heads", 3), HasSubstr("3 does not divide num_heads 4"));
  EXPECT_THAT(ErrorWith("num_key_value_heads", 8), HasSubstr("whole number of 1 to 4"));
}

TEST(ModelConfig, RefusesWhatIsNoJsonObject) {
  EXPECT_THAT(std::string(LoadText("{\"d_model\": NaN}").status().message()),
              HasSubstr("not valid JSON"));
  EXPECT_THAT(std::string(LoadText("[]").status().message()), HasSubstr("not a JSON object"));
  EXPECT_THAT(std::string(LoadText("").status().message()), HasSubstr("not valid JSON"));
  EXPECT_THAT(std::string(LoadText(R"({"d_model": 8, "d_model": 9})").status().message()),
              HasSubstr("\"d_model\" is said twice"));
  EXPECT_THAT(std::string(LoadText("{\"a\": " + std::string(100000, '[')).status().message()),
              HasSubstr("nested deeper"));
  EXPECT_EQ(LoadModelConfig("tests/golden/none").status().code(), absl::StatusCode::kNotFound);
  const testing::TempDir dir;
  std::filesystem::create_directory(dir / "config.json");
  EXPECT_THAT(std::string(LoadModelConfig(dir.path()).status().message()),
              HasSubstr("not a regular file"));
}

TEST(ModelConfig, SameKeyInTwoObjectsIsNoDuplicate) {
  json config = Minimal();
  config["task_specific_params"] = {{"a", {{"prefix", "x"}}}, {"b", {{"prefix", "y"}}}};
  EXPECT_TRUE(Load(config).ok()) << Load(config).status();
}

TEST(ModelConfig, KnowsTheVariants) {
  json config = Minimal();
  config["num_key_value_heads"] = 2;
  for (const char* name :
       {"gqa", "wgqa", "colwgqa", "rowwgqa", "kdgqa", "dgqa_diff", "dgqa_ema", "pgqa"}) {
    config["attention_variant"] = name;
    const auto c = Load(config);
    ASSERT_TRUE(c.ok()) << c.status();
    EXPECT_EQ(AttentionVariantName(*c->attention_variant), name);
  }
  EXPECT_THAT(ErrorWith("attention_variant", "sparse"),
              HasSubstr("\"sparse\" is unknown; known are mha, gqa, mqa, wgqa, colwgqa, rowwgqa, "
                        "simgqa, qcqa, kdgqa, dgqa_diff, dgqa_ema, pgqa"));
}

TEST(ModelConfig, ReadsHeadGroups) {
  const auto c = LoadModelConfig("tests/golden/qcqa");
  ASSERT_TRUE(c.ok()) << c.status();
  ASSERT_EQ(c->listed_groups.self.size(), 2u);
  EXPECT_THAT(c->listed_groups.self[0].groups,
              ElementsAre(ElementsAre(0, 5), ElementsAre(1, 2, 4, 7), ElementsAre(3, 6)));
  EXPECT_THAT(c->listed_groups.cross[0].groups, ElementsAre(ElementsAre(7, 1), ElementsAre(0, 2, 3),
                                                            ElementsAre(4, 6), ElementsAre(5)));
}

TEST(ModelConfig, CutsHeadOrderIntoGroups) {
  const auto c = LoadModelConfig("tests/golden/simgqa_g2");
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_THAT(c->listed_groups.self[1].groups, ElementsAre(ElementsAre(1, 3), ElementsAre(0, 2)));
  EXPECT_THAT(c->listed_groups.cross[0].groups, ElementsAre(ElementsAre(0, 3), ElementsAre(1, 2)));
}

// What is wrong with layer 1 of the cross groups.
std::string GroupError(const std::string& variant, const std::string& layer) {
  json config = Minimal();
  config["attention_variant"] = variant;
  if (variant == "simgqa") config["num_key_value_heads"] = 2;
  const std::string key = variant == "simgqa" ? "head_order" : "head_groups";
  const json good =
      variant == "simgqa" ? json::parse("[0, 1, 2, 3]") : json::parse("[[0, 1, 2, 3]]");
  config[key] = {{"self", {good, good}}, {"cross", {good, json::parse(layer)}}};
  const std::string message(Load(config).status().message());
  EXPECT_THAT(message, HasSubstr("/config.json: " + key + ".cross, layer 1: "));
  return message;
}

TEST(ModelConfig, RefusesWhatIsNoPartition) {
  EXPECT_THAT(GroupError("simgqa", "[0, 1, 2]"), HasSubstr("head 3 of 4 is missing"));
  EXPECT_THAT(GroupError("simgqa", "[0, 1, 1, 3]"), HasSubstr("head 1 is there twice"));
  EXPECT_THAT(GroupError("simgqa", "[0, 1, 2, 4]"), HasSubstr("4 is no head of 0 to 3"));
  EXPECT_THAT(GroupError("simgqa", "[0, 1, 2, -3]"), HasSubstr("-3 is no head"));
  EXPECT_THAT(GroupError("simgqa", "[0, 1, 2, 3, 0]"), HasSubstr("head 0 is there twice"));
  EXPECT_THAT(GroupError("simgqa", "{}"), HasSubstr("must be a list"));
  EXPECT_THAT(GroupError("qcqa", "[[0, 1], [2, 3], []]"), HasSubstr("a group is empty"));
  EXPECT_THAT(GroupError("qcqa", "[[0, 1], [1, 2, 3]]"), HasSubstr("head 1 is there twice"));
  EXPECT_THAT(GroupError("qcqa", "[[0], [2, 3]]"), HasSubstr("head 1 of 4 is missing"));
  EXPECT_THAT(GroupError("qcqa", "[[0, 1], 5]"), HasSubstr("must be a list of heads, not 5"));
  EXPECT_THAT(GroupError("qcqa", "[]"), HasSubstr("must be a list of groups"));
}

TEST(ModelConfig, GroupsMustComeWithTheirVariant) {
  EXPECT_THAT(ErrorWith("head_groups", json::object()), HasSubstr("attention_variant is not qcqa"));
  EXPECT_THAT(ErrorWith("attention_variant", "qcqa"), HasSubstr("head_groups: is missing"));
  EXPECT_THAT(ErrorWith("attention_variant", "simgqa"), HasSubstr("head_order: is missing"));
  json config = Minimal();
  config["attention_variant"] = "qcqa";
  const json layer = json::parse("[[0, 1, 2, 3]]");
  config["head_groups"] = {{"self", {layer}}, {"cross", {layer, layer}}};
  EXPECT_THAT(std::string(Load(config).status().message()),
              HasSubstr("head_groups.self: must be a list of 2 decoder layers"));
  config["head_groups"] = {{"self", {layer, layer}}};
  EXPECT_THAT(std::string(Load(config).status().message()),
              HasSubstr("head_groups.cross: is missing"));
}

}  // namespace
}  // namespace precis
