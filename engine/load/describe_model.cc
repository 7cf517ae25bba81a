#include "engine/load/describe_model.h"

#include <string_view>

#include "engine/model/config/model_name.h"
#include "fmt/format.h"

namespace precis {
namespace {

std::string_view ActivationName(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return "relu";
    case ActivationKind::kGelu:
    case ActivationKind::kGeluTanh:
      return "gelu";
    case ActivationKind::kSilu:
      return "silu";
  }
  return "";
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
  info.architecture = fmt::format("{} ({}{} feed-forward, {} logits)", config.name,
                                  config.gated ? "gated-" : "", ActivationName(config.activation),
                                  config.logits_scale != 1.0f ? "scaled" : "unscaled");
  info.attention_variant = std::string(AttentionVariantName(attention.variant));
  info.assigns_heads = AssignsHeads(attention.variant);
  info.subtracts_noise = attention.variant == AttentionVariant::kPgqa;
  info.vocab_size = config.vocab_size;
  info.d_model = config.d_model;
  info.encoder = config.encoder;
  info.decoder = config.decoder;
  const LayerGroupings groupings = Groupings(config, attention);
  info.self_kv_heads = KvHeadCounts(groupings.self);
  info.cross_kv_heads = KvHeadCounts(groupings.cross);
  info.n_positions = config.n_positions != 0 ? config.n_positions : config.encoder.max_positions;
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
