// BART, and what was distilled from it (DistilBART): norms with shifts after each sublayer, learned
// positions, biases everywhere. Keys, defaults and names: BartConfig and
// BartForConditionalGeneration of transformers 5.5.4.
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "engine/model/families/config_sizes.h"
#include "engine/model/families/family.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Rows of the table before that of position 0, left over from fairseq's padding.
constexpr uint32_t kPositionOffset = 2;

Status ReadStack(const JsonKeys& keys, std::string_view stack, uint32_t d_model, StackShape* out) {
  const auto key = [&](std::string_view what) { return fmt::format("{}_{}", stack, what); };
  const std::string layers = key("layers");
  const std::string heads = key("attention_heads");
  const std::string d_ff = key("ffn_dim");
  const bool encoder = stack == "encoder";
  const std::pair<SizeKey, uint32_t*> sizes[] = {
      {{layers, encoder ? std::string_view("num_hidden_layers") : layers, 12, kMaxLayers},
       &out->layers},
      {{heads, encoder ? std::string_view("num_attention_heads") : heads, 16, kMaxHeads},
       &out->num_heads},
      {{d_ff, d_ff, 4096, kMaxDimension}, &out->d_ff},
  };
  for (const auto& [size, value] : sizes) PRECIS_RETURN_IF_ERROR(ReadSize(keys, size, value));
  if (d_model % out->num_heads != 0) {
    return keys.Error(heads, fmt::format("{} does not divide d_model {}", out->num_heads, d_model));
  }
  out->head_dim = d_model / out->num_heads;
  return OkStatus();
}

Status ReadSizes(const JsonKeys& keys, Architecture* c) {
  uint32_t positions = 0;
  const std::pair<SizeKey, uint32_t*> sizes[] = {
      {{"d_model", "hidden_size", 1024, kMaxDimension}, &c->d_model},
      {{"vocab_size", "vocab_size", 50265, kMaxDimension}, &c->vocab_size},
      {{"max_position_embeddings", "max_position_embeddings", 1024, kMaxDimension}, &positions},
  };
  for (const auto& [size, out] : sizes) PRECIS_RETURN_IF_ERROR(ReadSize(keys, size, out));
  if (positions < 2) {
    return keys.Error("max_position_embeddings", "must be 2 at least: a start token and one more");
  }
  PRECIS_RETURN_IF_ERROR(ReadStack(keys, "encoder", c->d_model, &c->encoder));
  PRECIS_RETURN_IF_ERROR(ReadStack(keys, "decoder", c->d_model, &c->decoder));
  c->encoder.max_positions = c->decoder.max_positions = positions;
  return OkStatus();
}

}  // namespace

TensorNames BartNames() {
  constexpr std::string_view kShared = "model.shared.weight";
  constexpr std::string_view kEncoder = "model.encoder.embed_tokens.weight";
  constexpr std::string_view kDecoder = "model.decoder.embed_tokens.weight";
  constexpr std::string_view kHead = "lm_head.weight";
  return {
      .base_prefix = "model.",
      .embedding = {.shared = kShared,
                    .encoder = kEncoder,
                    .decoder = kDecoder,
                    .lm_head = kHead,
                    .ties = {kHead, kDecoder, kEncoder}},
      .encoder = {.self = {"model.encoder.layers.{}.self_attn_layer_norm.weight",
                           "model.encoder.layers.{}.self_attn."},
                  .cross = {},
                  .feed_forward = {"model.encoder.layers.{}.final_layer_norm.weight",
                                   "model.encoder.layers.{}."},
                  .position_bias = {},
                  .positions = "model.encoder.embed_positions.weight",
                  .embedding_norm = "model.encoder.layernorm_embedding.weight",
                  .final_norm = "model.encoder.layer_norm.weight"},
      .decoder = {.self = {"model.decoder.layers.{}.self_attn_layer_norm.weight",
                           "model.decoder.layers.{}.self_attn."},
                  .cross = {"model.decoder.layers.{}.encoder_attn_layer_norm.weight",
                            "model.decoder.layers.{}.encoder_attn."},
                  .feed_forward = {"model.decoder.layers.{}.final_layer_norm.weight",
                                   "model.decoder.layers.{}."},
                  .position_bias = {},
                  .positions = "model.decoder.embed_positions.weight",
                  .embedding_norm = "model.decoder.layernorm_embedding.weight",
                  .final_norm = "model.decoder.layer_norm.weight"},
      .q = "q_proj.weight",
      .k = "k_proj.weight",
      .v = "v_proj.weight",
      .o = "out_proj.weight",
      .in = "fc1.weight",
      .gate = {},
      .up = {},
      .out = "fc2.weight",
      .logits_bias = "final_logits_bias",
      // Of the first files on the hub.
      .stray = "model.encoder.version",
  };
}

StatusOr<Architecture> DescribeBart(const JsonKeys& config) {
  Architecture out;
  out.name = "BART";
  out.names = BartNames();
  PRECIS_RETURN_IF_ERROR(ReadSizes(config, &out));
  out.norm = NormKind::kLayer;
  out.norm_place = NormPlace::kAfter;
  out.norm_epsilon = 1e-5f;
  out.embedding_norm = true;
  out.final_norm = false;
  out.biases = true;
  out.logits_bias = true;
  out.scales_attention = true;
  out.positions = LearnedPositions{kPositionOffset};
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> scales, config.Bool("scale_embedding"));
  if (scales.value_or(false)) out.embedding_scale = std::sqrt(static_cast<float>(out.d_model));
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> activation,
                          config.Text("activation_function"));
  PRECIS_ASSIGN_OR_RETURN(
      out.activation, ActivationNamed(config, "activation_function", activation.value_or("gelu")));
  // Checked alone: nothing is padded here.
  PRECIS_RETURN_IF_ERROR(config.Count("pad_token_id", 0, out.vocab_size - 1).status());
  out.tokens = {.ends = {2}, .start = 2};  // </s>
  return out;
}

}  // namespace precis
