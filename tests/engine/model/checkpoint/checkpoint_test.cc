#include "engine/model/checkpoint/checkpoint.h"

#include <set>

#include "engine/model/config/attention_variant.h"
#include "engine/model/families/t5_common.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using testing::Filled;
using testing::Floats;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RawTensor;
using testing::ReadAll;
using testing::SafetensorsBytes;
using ::testing::SizeIs;
using testing::TempDir;

std::unique_ptr<Checkpoint> Open(const std::string& dir) {
  auto checkpoint = Checkpoint::Open(dir);
  PRECIS_CHECK(checkpoint.ok());
  return std::move(checkpoint).value();
}

TEST(Checkpoint, ReadsF32AsItIs) {
  const TempDir dir;
  dir.Write("model.safetensors", SafetensorsBytes({{"a", Floats({2, 3}, {1, 2, 3, 4, 5, -0.5f})},
                                                   {"b", Floats({0}, {})},
                                                   {"c", Floats({}, {7})}}));
  const auto checkpoint = Open(dir.path());
  EXPECT_THAT(*checkpoint->Read("a", {2, 3}), ElementsAre(1, 2, 3, 4, 5, -0.5f));
  EXPECT_THAT(*checkpoint->Read("b", {0}), IsEmpty());
  EXPECT_THAT(*checkpoint->Read("c", {}), ElementsAre(7));
  EXPECT_THAT(checkpoint->names(), ElementsAre("a", "b", "c"));
  EXPECT_TRUE(checkpoint->Has("a"));
  EXPECT_FALSE(checkpoint->Has("d"));
  EXPECT_THAT(*checkpoint->Shape("a"), ElementsAre(2, 3));
}

std::string Words(const std::vector<uint16_t>& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * 2};
}

TEST(Checkpoint, WidensHalvesExactly) {
  const TempDir dir;
  dir.Write(
      "model.safetensors",
      SafetensorsBytes(
          {{"bf16", RawTensor{"BF16", {4}, Words({0x3f80, 0xc000, 0x0001, 0x7f7f})}},
           {"f16",
            RawTensor{
                "F16", {7}, Words({0x3c00, 0xc000, 0x0001, 0x8001, 0x03ff, 0x7bff, 0x8000})}}}));
  const auto checkpoint = Open(dir.path());
  EXPECT_THAT(*checkpoint->Read("bf16", {4}), ElementsAre(1.0f, -2.0f, 0x1p-133f, 0x1.fep127f));
  EXPECT_THAT(*checkpoint->Read("f16", {7}),
              ElementsAre(1.0f, -2.0f, 0x1p-24f, -0x1p-24f, 1023 * 0x1p-24f, 65504.0f, -0.0f));
}

TEST(Checkpoint, ReadsTensorsLargerThanAChunk) {
  std::vector<float> values(200'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.25f - 7;
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i % 0x7f80);
  const auto count = static_cast<int64_t>(values.size());
  const TempDir dir;
  dir.Write("model.safetensors",
            SafetensorsBytes({{"f32", Floats({count}, values)},
                              {"half", RawTensor{"BF16", {count}, Words(halves)}}}));
  const auto checkpoint = Open(dir.path());
  EXPECT_EQ(*checkpoint->Read("f32", {count}), values);
  const auto half = checkpoint->Read("half", {count});
  ASSERT_TRUE(half.ok()) << half.status();
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ((*half)[i], std::bit_cast<float>(uint32_t{halves[i]} << 16)) << i;
  }
}

TEST(Checkpoint, EveryStaticFixtureLoadsWhole) {
  size_t fixtures = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden")) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    auto checkpoint = Checkpoint::Open(entry.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    ++fixtures;
    for (const std::string& name : (*checkpoint)->names()) {
      const auto shape = (*checkpoint)->Shape(name);
      const auto values = (*checkpoint)->Read(name, *shape);
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_THAT(*values, ::testing::Contains(::testing::Ne(0.0f))) << name;
    }
    EXPECT_THAT((*checkpoint)->UnreadNames(), IsEmpty());
  }
  EXPECT_GE(fixtures, 22u);
}

TEST(Checkpoint, ReadsShardsAsOne) {
  const auto sharded = Open("tests/golden/sharded");
  EXPECT_TRUE(sharded->Has("shared.weight"));
  EXPECT_TRUE(sharded->Has("encoder.final_layer_norm.weight"));
  const auto shared = sharded->Read("shared.weight", {544, 64});
  const auto again = sharded->Read("encoder.embed_tokens.weight", {544, 64});
  ASSERT_TRUE(shared.ok() && again.ok());
  EXPECT_EQ(*shared, *again);
  EXPECT_THAT(sharded->Describe("shared.weight"),
              HasSubstr("tests/golden/sharded/model-00002-of-00002.safetensors: shared.weight"));
}

TEST(Checkpoint, TensorsAreTheSameIfTypeShapeAndEveryByteAre) {
  const TempDir dir;
  std::vector<float> values(400'000, 1.0f);  // more than is compared at once
  const auto count = static_cast<int64_t>(values.size());
  const RawTensor one = Floats({count}, values);
  RawTensor other_shape = one;
  other_shape.shape = {2, count / 2};
  values.back() = 2;
  dir.Write("model.safetensors",
            SafetensorsBytes({{"one", one},
                              {"copy", one},
                              {"other_value", Floats({count}, values)},
                              {"other_shape", other_shape},
                              {"other_type", RawTensor{"BF16", {2 * count}, one.bytes}}}));
  const auto checkpoint = Open(dir.path());
  EXPECT_TRUE(*checkpoint->Same("one", "copy"));
  for (const char* other : {"other_value", "other_shape", "other_type"}) {
    EXPECT_FALSE(*checkpoint->Same("one", other)) << other;
  }
  EXPECT_EQ(checkpoint->Same("one", "none").status().code(), absl::StatusCode::kNotFound);
}

// What the loader warns of.
std::vector<std::string> Unread(const Checkpoint& checkpoint) {
  std::vector<std::string> names = checkpoint.UnreadNames();
  std::erase_if(names, [](const std::string& name) { return T5Names().MayBeUnread(name); });
  return names;
}

TEST(Checkpoint, ListsWhatNobodyReadButNoKnownDuplicate) {
  const TempDir dir;
  const RawTensor one = Filled({1}, 1);
  dir.Write("model.safetensors",
            SafetensorsBytes(
                {{"shared.weight", one},
                 {"encoder.embed_tokens.weight", one},
                 {"decoder.embed_tokens.weight", one},
                 {"lm_head.weight", one},
                 {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", one},
                 {"extra", one}}));
  const auto checkpoint = Open(dir.path());
  EXPECT_THAT(Unread(*checkpoint), ElementsAre("extra", "shared.weight"));
  ASSERT_TRUE(checkpoint->Read("shared.weight", {1}).ok());
  ASSERT_TRUE(checkpoint->Fingerprint().ok());
  EXPECT_THAT(Unread(*checkpoint), ElementsAre("extra")) << "hashing is not reading";
}

// --- fingerprint ---

constexpr char kConfig[] = "{\"model_type\": \"t5\"}";

std::string FingerprintOf(const std::map<std::string, RawTensor>& tensors,
                          const std::string& config = kConfig, const std::string& generation = "") {
  const TempDir dir;
  dir.Write("model.safetensors", SafetensorsBytes(tensors));
  dir.Write("config.json", config);
  if (!generation.empty()) dir.Write("generation_config.json", generation);
  return *Open(dir.path())->Fingerprint();
}

TEST(Fingerprint, ChangesWithEverythingThatIsTheModel) {
  const std::map<std::string, RawTensor> base = {{"a", Floats({4}, {1, 2, 3, 4})},
                                                 {"b", Floats({1}, {5})}};
  std::set<std::string> seen = {FingerprintOf(base)};
  EXPECT_THAT(*seen.begin(), SizeIs(16));
  EXPECT_EQ(FingerprintOf(base), *seen.begin());
  auto value = base, shape = base, name = base, type = base, swapped = base;
  value["a"] = Floats({4}, {1, 2, 3, 4.0000005f});
  shape["a"].shape = {2, 2};
  name.erase("b");
  name["c"] = base.at("b");
  type["b"] = RawTensor{"BF16", {2}, base.at("b").bytes};
  swapped["a"] = Floats({4}, {1, 2, 3, 5});
  swapped["b"] = Floats({1}, {4});
  for (const auto& other : {value, shape, name, type, swapped}) seen.insert(FingerprintOf(other));
  seen.insert(FingerprintOf(base, "{\"model_type\": \"mt5\"}"));
  seen.insert(FingerprintOf(base, kConfig, "{}"));
  seen.insert(FingerprintOf(base, kConfig, "{\"num_beams\": 4}"));
  EXPECT_THAT(seen, SizeIs(9)) << "all differ";
}

TEST(Fingerprint, DoesNotDependOnShardsOrOnWhatWasRead) {
  const RawTensor a = Floats({3}, {1, 2, 3}), b = Floats({2}, {4, 5});
  const std::string alone = FingerprintOf({{"a", a}, {"b", b}});
  const TempDir dir;
  dir.Write("config.json", kConfig);
  dir.Write("one.safetensors", SafetensorsBytes({{"b", b}}));
  dir.Write("two.safetensors", SafetensorsBytes({{"a", a}}));
  dir.Write("model.safetensors.index.json",
            R"({"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}})");
  const auto sharded = Open(dir.path());
  ASSERT_TRUE(sharded->Read("a", {3}).ok());
  EXPECT_EQ(*sharded->Fingerprint(), alone);
  ASSERT_TRUE(sharded->Read("b", {2}).ok());
  EXPECT_EQ(*sharded->Fingerprint(), alone);
}

// --- which variant it is ---

constexpr uint32_t kHeads = 4, kHeadDim = 3, kModel = 8;

TEST(Checkpoint, TensorsAreReadUnderTheirNewNames) {
  const TempDir dir;
  dir.Write("model.safetensors", SafetensorsBytes({{"shared", Filled({1}, 1)},
                                                   {"model.shared", Filled({1}, 2)},
                                                   {"norm", Filled({1}, 3)}}));
  const auto checkpoint = Open(dir.path());
  checkpoint->Rename([](std::string_view name) {
    return name.starts_with("model.") ? std::string(name) : "model." + std::string(name);
  });
  EXPECT_EQ(checkpoint->names(), (std::vector<std::string>{"model.norm", "model.shared", "shared"}))
      << "a name that another tensor has is not taken";
  const auto values = checkpoint->Read("model.norm", {1});
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(values->front(), 3.0f);
  EXPECT_THAT(checkpoint->Describe("model.norm"), HasSubstr("model.safetensors: norm"))
      << "messages have the name that the file has";
}

// Decoder attentions of one layer; `wk1_columns` 0: no head weights.
std::map<std::string, RawTensor> Attention(uint32_t stored_heads, int64_t wk1_columns = 0) {
  std::map<std::string, RawTensor> tensors;
  for (const bool cross : {false, true}) {
    const std::string prefix = T5Names().DecoderAttention(0, cross);
    tensors[prefix + "k.weight"] = Filled({stored_heads * kHeadDim, kModel}, 1);
    tensors[prefix + "v.weight"] = Filled({stored_heads * kHeadDim, kModel}, 1);
    if (wk1_columns > 0) tensors[prefix + "wk1"] = Filled({kHeads, wk1_columns}, 1);
  }
  return tensors;
}

ModelConfig SmallConfig() {
  ModelConfig config;
  config.names = T5Names();
  config.file = "config.json";
  config.d_model = kModel;
  config.decoder.head_dim = kHeadDim;
  config.decoder.num_heads = kHeads;
  config.decoder.layers = 1;
  return config;
}

StatusOr<ResolvedAttention> Resolve(const ModelConfig& config,
                                    const std::map<std::string, RawTensor>& tensors) {
  const TempDir dir;
  dir.Write("model.safetensors", SafetensorsBytes(tensors));
  return ResolveAttention(config, *Open(dir.path()));
}

// "wgqa 2", or the message.
std::string Resolved(const std::map<std::string, RawTensor>& tensors,
                     std::optional<uint32_t> kv_heads = std::nullopt,
                     std::optional<AttentionVariant> variant = std::nullopt) {
  ModelConfig config = SmallConfig();
  config.num_key_value_heads = kv_heads;
  config.attention_variant = variant;
  const auto attention = Resolve(config, tensors);
  if (!attention.ok()) return std::string(attention.status().message());
  return std::string(AttentionVariantName(attention->variant)) + " " +
         std::to_string(attention->num_kv_heads);
}

TEST(ResolveAttention, VariantsThatReadNormsOrValuesNeedAFamilyWithoutBiases) {
  for (const AttentionVariant variant :
       {AttentionVariant::kKdGqa, AttentionVariant::kDgqaDiff, AttentionVariant::kDgqaEma,
        AttentionVariant::kPgqa, AttentionVariant::kGqa}) {
    ModelConfig config = SmallConfig();
    config.name = "BART";
    config.biases = true;
    config.num_key_value_heads = 2;
    config.attention_variant = variant;
    const Status status = Resolve(config, Attention(4)).status();
    if (variant == AttentionVariant::kGqa) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("config.json: attention_variant: " +
                          std::string(AttentionVariantName(variant)) + " is not served for BART"));
  }
}

TEST(ResolveAttention, ReadsTheVariantFromTheShapes) {
  EXPECT_EQ(Resolved(Attention(4)), "mha 4");
  EXPECT_EQ(Resolved(Attention(4), 4), "mha 4");
  EXPECT_EQ(Resolved(Attention(2)), "gqa 2");
  EXPECT_EQ(Resolved(Attention(2), 2), "gqa 2");
  EXPECT_EQ(Resolved(Attention(4), 2), "gqa 2") << "pooled at load";
  EXPECT_EQ(Resolved(Attention(1)), "mqa 1");
  EXPECT_EQ(Resolved(Attention(4), 1), "mqa 1");
  EXPECT_EQ(Resolved(Attention(4, 1), 2), "wgqa 2");
  EXPECT_EQ(Resolved(Attention(4, kHeadDim), 2), "colwgqa 2");
  EXPECT_EQ(Resolved(Attention(4, kModel), 1), "rowwgqa 1");
}

TEST(ResolveAttention, AsksForTheKeyWhereShapesDoNotDecide) {
  EXPECT_THAT(Resolved(Attention(4, 1)),
              HasSubstr("num_key_value_heads: is missing; wgqa needs it"));
  EXPECT_THAT(Resolved(Attention(4, 5), 2),
              HasSubstr("wk1: shape [4, 5] is none of [4, 1], [4, 3]"));
  ModelConfig config = SmallConfig();
  config.num_key_value_heads = 2;
  config.d_model = config.decoder.head_dim = 8;
  auto status = Resolve(config, Attention(4, 8)).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("fits colwgqa and rowwgqa; say attention_variant in config.json"));
  config.decoder.head_dim = 1;
  status = Resolve(config, Attention(4, 1)).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("fits wgqa and colwgqa; say attention_variant"));
  auto mixed = Attention(2);
  mixed[T5Names().DecoderAttention(0, true) + "k.weight"] = Filled({12, kModel}, 1);
  EXPECT_THAT(Resolved(mixed), HasSubstr("12 rows where"));
  auto odd = Attention(4);
  odd[T5Names().DecoderAttention(0, false) + "k.weight"] = Filled({7, kModel}, 1);
  EXPECT_THAT(Resolved(odd), HasSubstr("k.weight: shape [7, 8] is not [KV heads x 3, 8]"));
}

TEST(ResolveAttention, ChecksWhatTheConfigSays) {
  EXPECT_EQ(Resolved(Attention(2), std::nullopt, AttentionVariant::kGqa), "gqa 2");
  EXPECT_EQ(Resolved(Attention(4), std::nullopt, AttentionVariant::kMqa), "mqa 1");
  EXPECT_EQ(Resolved(Attention(4, 8), 2, AttentionVariant::kRowWgqa), "rowwgqa 2");
  EXPECT_THAT(Resolved(Attention(4), std::nullopt, AttentionVariant::kGqa),
              HasSubstr("num_key_value_heads: is missing; gqa needs it"));
  EXPECT_THAT(Resolved(Attention(4), 2, AttentionVariant::kMha),
              HasSubstr("num_key_value_heads: 2, but mha has 4 here"));
  EXPECT_THAT(Resolved(Attention(4, 1), 2, AttentionVariant::kGqa),
              HasSubstr("wk1: is there, but attention_variant is gqa"));
  auto cached = Attention(2);
  cached[T5Names().DecoderAttention(0, false) + "cached_norm"] = Filled({2}, 1);
  EXPECT_THAT(Resolved(cached),
              HasSubstr("cached_norm: is of dgqa_diff or of dgqa_ema; say attention_variant"));
  EXPECT_EQ(Resolved(cached, std::nullopt, AttentionVariant::kDgqaEma), "dgqa_ema 2");
  for (const AttentionVariant other : {AttentionVariant::kKdGqa, AttentionVariant::kGqa}) {
    EXPECT_THAT(Resolved(cached, 2, other), HasSubstr("cached_norm: is there, but"));
  }
  EXPECT_EQ(Resolved(Attention(2), std::nullopt, AttentionVariant::kKdGqa), "kdgqa 2");
  EXPECT_EQ(Resolved(Attention(4), 2, AttentionVariant::kPgqa), "pgqa 2");
}

TEST(ResolveAttention, AgreesWithItselfOnEveryFixtureThatSaysIt) {
  for (const char* name : {"t5_v10_relu_tied", "gqa_g2", "mqa", "wgqa_g2", "wmqa", "colwgqa_g2",
                           "rowwgqa_g2", "gqa_g2_from_mha", "rand_wgqa_g4"}) {
    const std::string dir = std::string("tests/golden/") + name;
    auto config = LoadModelConfig(dir);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto checkpoint = Open(dir);
    const auto said = ResolveAttention(*config, *checkpoint);
    ASSERT_TRUE(said.ok()) << said.status();
    config->attention_variant.reset();
    const auto seen = ResolveAttention(*config, *checkpoint);
    ASSERT_TRUE(seen.ok()) << seen.status();
    // With one KV head gqa is mqa; weighted variants keep their name.
    EXPECT_EQ(said->variant, seen->variant) << name;
    EXPECT_EQ(said->num_kv_heads, seen->num_kv_heads) << name;
  }
}

TEST(Groupings, AreEvenUnlessListed) {
  ModelConfig config = SmallConfig();
  config.decoder.layers = 2;
  LayerGroupings groupings = Groupings(config, {AttentionVariant::kWgqa, 2});
  ASSERT_THAT(groupings.self, SizeIs(2));
  ASSERT_THAT(groupings.cross, SizeIs(2));
  EXPECT_THAT(groupings.cross[1].groups, ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3)));
  groupings = Groupings(config, {AttentionVariant::kMha, 4});
  EXPECT_THAT(groupings.self[0].groups,
              ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2), ElementsAre(3)));
  groupings = Groupings(config, {AttentionVariant::kMqa, 1});
  EXPECT_THAT(groupings.self[0].groups, ElementsAre(ElementsAre(0, 1, 2, 3)));
}

}  // namespace
}  // namespace precis
