#include "engine/model/families/t5_common.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "engine/model/families/config_sizes.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr uint32_t kMaxBuckets = 65536;

Status OptionalCount(const JsonKeys& keys, std::string_view key, uint32_t min, uint32_t max,
                     uint32_t* out) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> value, keys.Count(key, min, max));
  if (value) *out = *value;
  return OkStatus();
}

Status ReadSizes(const JsonKeys& keys, const T5Defaults& f, Architecture* c) {
  StackShape& e = c->encoder;
  const std::pair<SizeKey, uint32_t*> sizes[] = {
      {{"d_model", "hidden_size", f.d_model, kMaxDimension}, &c->d_model},
      {{"d_kv", "head_dim", f.d_kv, kMaxDimension}, &e.head_dim},
      {{"d_ff", "d_ff", f.d_ff, kMaxDimension}, &e.d_ff},
      {{"vocab_size", "vocab_size", f.vocab_size, kMaxDimension}, &c->vocab_size},
      {{"num_heads", "num_attention_heads", f.num_heads, kMaxHeads}, &e.num_heads},
      {{"num_layers", "num_hidden_layers", f.num_layers, kMaxLayers}, &e.layers},
  };
  for (const auto& [size, out] : sizes) PRECIS_RETURN_IF_ERROR(ReadSize(keys, size, out));
  c->decoder = e;
  PRECIS_ASSIGN_OR_RETURN(const auto num_layers, keys.Count("num_layers", 1, kMaxLayers));
  c->decoder.layers = num_layers.value_or(f.num_layers);
  PRECIS_RETURN_IF_ERROR(
      OptionalCount(keys, "num_decoder_layers", 1, kMaxLayers, &c->decoder.layers));
  if (uint64_t{e.num_heads} * e.head_dim > kMaxDimension) {
    return keys.Error("d_kv", fmt::format("num_heads x d_kv = {} x {} is more than {}", e.num_heads,
                                          e.head_dim, kMaxDimension));
  }
  return OkStatus();
}

Status ReadPositionBuckets(const JsonKeys& keys, Architecture* c) {
  RelativeBias& bias = c->position_bias.emplace();
  // The encoder halves the buckets twice; below 4 its formula divides by zero.
  PRECIS_RETURN_IF_ERROR(
      OptionalCount(keys, "relative_attention_num_buckets", 4, kMaxBuckets, &bias.num_buckets));
  PRECIS_RETURN_IF_ERROR(
      OptionalCount(keys, "relative_attention_max_distance", 1, kMaxDimension, &bias.max_distance));
  const uint32_t exact = bias.num_buckets / 2;
  if (bias.max_distance > exact) return OkStatus();
  return keys.Error("relative_attention_max_distance",
                    fmt::format("{} must be more than half of relative_attention_num_buckets, {}",
                                bias.max_distance, bias.num_buckets));
}

Status ReadFeedForward(const JsonKeys& keys, const T5Defaults& defaults, Architecture* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> said, keys.Text("feed_forward_proj"));
  const std::string proj = said.value_or(std::string(defaults.feed_forward_proj));
  if (proj != "relu" && proj != "gated-gelu") {
    return Unimplemented(
        fmt::format("{}: feed_forward_proj \"{}\" is not served; relu and gated-gelu are",
                    keys.file(), Shown(proj)));
  }
  c->gated = proj == "gated-gelu";
  c->activation = c->gated ? ActivationKind::kGeluTanh : ActivationKind::kRelu;
  // transformers writes both beside it and lets them override what it derives from it.
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> act, keys.Text("dense_act_fn"));
  if (act && *act != (c->gated ? "gelu_new" : "relu")) {
    return Unimplemented(
        fmt::format("{}: dense_act_fn \"{}\" with feed_forward_proj \"{}\" is not "
                    "served; relu with relu and gelu_new with gated-gelu are",
                    keys.file(), Shown(*act), proj));
  }
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> gated_act, keys.Bool("is_gated_act"));
  if (gated_act && *gated_act != c->gated) {
    return keys.Error("is_gated_act",
                      fmt::format("{} contradicts feed_forward_proj \"{}\"", *gated_act, proj));
  }
  return OkStatus();
}

Status ReadNumerics(const JsonKeys& keys, Architecture* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<double> eps,
                          keys.Real("layer_norm_epsilon", 1e-30, 1.0));
  if (eps) c->norm_epsilon = static_cast<float>(*eps);
  // Only T5 itself reads these two.
  for (const char* key : {"tie_word_embeddings", "scale_decoder_outputs"}) {
    PRECIS_RETURN_IF_ERROR(keys.Bool(key).status());
  }
  // Checked alone: nothing is padded here.
  return keys.Count("pad_token_id", 0, c->vocab_size - 1).status();
}

}  // namespace

StatusOr<Architecture> DescribeT5Keys(const JsonKeys& config, const T5Defaults& defaults) {
  Architecture out;
  out.names = T5Names();
  PRECIS_RETURN_IF_ERROR(ReadSizes(config, defaults, &out));
  PRECIS_RETURN_IF_ERROR(ReadPositionBuckets(config, &out));
  PRECIS_RETURN_IF_ERROR(ReadFeedForward(config, defaults, &out));
  PRECIS_RETURN_IF_ERROR(ReadNumerics(config, &out));
  out.tokens = {.ends = {1}, .start = 0};  // </s>, <pad>
  return out;
}

TensorNames T5Names() {
  constexpr std::string_view kShared = "shared.weight";
  constexpr std::string_view kEncoder = "encoder.embed_tokens.weight";
  constexpr std::string_view kDecoder = "decoder.embed_tokens.weight";
  constexpr std::string_view kHead = "lm_head.weight";
  return {
      .embedding = {.shared = kShared,
                    .encoder = kEncoder,
                    .decoder = kDecoder,
                    .lm_head = kHead,
                    .ties = {kHead, kEncoder, kDecoder}},
      .encoder = {.self = {"encoder.block.{}.layer.0.layer_norm.weight",
                           "encoder.block.{}.layer.0.SelfAttention."},
                  .cross = {},
                  .feed_forward = {"encoder.block.{}.layer.1.layer_norm.weight",
                                   "encoder.block.{}.layer.1.DenseReluDense."},
                  .position_bias =
                      "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight",
                  .final_norm = "encoder.final_layer_norm.weight"},
      .decoder = {.self = {"decoder.block.{}.layer.0.layer_norm.weight",
                           "decoder.block.{}.layer.0.SelfAttention."},
                  .cross = {"decoder.block.{}.layer.1.layer_norm.weight",
                            "decoder.block.{}.layer.1.EncDecAttention."},
                  .feed_forward = {"decoder.block.{}.layer.2.layer_norm.weight",
                                   "decoder.block.{}.layer.2.DenseReluDense."},
                  .position_bias =
                      "decoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight",
                  .final_norm = "decoder.final_layer_norm.weight"},
      .q = "q.weight",
      .k = "k.weight",
      .v = "v.weight",
      .o = "o.weight",
      .in = "wi.weight",
      .gate = "wi_0.weight",
      .up = "wi_1.weight",
      .out = "wo.weight",
      // Left over in the original files.
      .stray = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
  };
}

TensorNames Mt5Names() {
  TensorNames names = T5Names();
  EmbeddingAliases& e = names.embedding;
  e.ties = {e.encoder, e.decoder, e.lm_head};
  return names;
}

float ScaleByWidth(const Architecture& architecture) {
  return 1.0f / std::sqrt(static_cast<float>(architecture.d_model));
}

}  // namespace precis
