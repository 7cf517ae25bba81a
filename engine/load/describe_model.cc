#include "engine/load/describe_model.h"

#include "engine/model/config/model_name.h"
#include "fmt/format.h"

namespace precis {
namespace {

std::string FeedForwardText(const Architecture& architecture) {
  const char* activation = architecture.activation == Activation::kRelu ? "relu" : "gelu";
  return fmt::format("{}{}", architecture.gated ? "gated-" : "", activation);
}

}  // namespace

std::vector<uint32_t> KvHeadCounts(const std::vector<HeadGrouping>& layers) {
  std::vector<uint32_t> counts;
  for (const HeadGrouping& layer : layers) {
    counts.push_back(static_cast<uint32_t>(layer.groups.size()));
  }
  return counts;
}

ModelInfo DescribeModel(const std::string& model_dir, const ModelConfig& config,
                        const ResolvedAttention& attention, const KvLayout& layout) {
  ModelInfo info;
  info.name = NameFrom(ReadNameSources(model_dir));
  info.architecture =
      fmt::format("{} ({} feed-forward, {} logits)", config.name, FeedForwardText(config),
                  config.logits_scale != 1.0f ? "scaled" : "unscaled");
  info.attention_variant = std::string(AttentionVariantName(attention.variant));
  info.assigns_heads = AssignsHeads(attention.variant);
  info.subtracts_noise = attention.variant == AttentionVariant::kPgqa;
  info.vocab_size = config.vocab_size;
  info.d_model = config.d_model;
  info.d_ff = config.d_ff;
  info.head_dim = config.head_dim;
  info.num_heads = config.num_heads;
  info.num_encoder_layers = config.num_encoder_layers;
  info.num_decoder_layers = config.num_decoder_layers;
  const LayerGroupings groupings = Groupings(config, attention);
  info.self_kv_heads = KvHeadCounts(groupings.self);
  info.cross_kv_heads = KvHeadCounts(groupings.cross);
  info.n_positions = config.n_positions;
  info.end_token_ids = config.tokens.ends;
  info.decoder_start_token_id = config.tokens.start;
  info.self_bytes_per_token = layout.self.bytes_per_token;
  info.cross_bytes_per_token = layout.cross.bytes_per_token;
  info.page_bytes = layout.page_bytes;
  info.self_slots = layout.self.slots;
  info.cross_slots = layout.cross.slots;
  return info;
}

}  // namespace precis
