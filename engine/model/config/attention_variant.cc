#include "engine/model/config/attention_variant.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/check.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kSayIt = "; say attention_variant in config.json";

bool IsWeighted(AttentionVariant variant) {
  return variant == AttentionVariant::kWgqa || variant == AttentionVariant::kColWgqa ||
         variant == AttentionVariant::kRowWgqa;
}

std::vector<std::string> AttentionPrefixes(const ModelConfig& config) {
  std::vector<std::string> prefixes;
  for (uint32_t layer = 0; layer < config.decoder.layers; ++layer) {
    prefixes.push_back(config.names.DecoderAttention(layer, /*cross=*/false));
    prefixes.push_back(config.names.DecoderAttention(layer, /*cross=*/true));
  }
  return prefixes;
}

// The name of the first decoder attention's tensor called `suffix`, empty if none has one.
std::string FirstWith(const ModelConfig& config, const Checkpoint& checkpoint,
                      std::string_view suffix) {
  for (const std::string& prefix : AttentionPrefixes(config)) {
    const std::string name = prefix + std::string(suffix);
    if (checkpoint.Has(name)) return name;
  }
  return "";
}

// Rows of k.weight in heads; every decoder attention must agree.
StatusOr<uint32_t> StoredHeads(const ModelConfig& config, const Checkpoint& checkpoint) {
  int64_t rows = 0;
  std::string first;
  for (const std::string& prefix : AttentionPrefixes(config)) {
    const std::string name = config.names.Projection(prefix, 'k');
    PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, checkpoint.Shape(name));
    if (shape.size() != 2 || shape[0] <= 0 || shape[0] % config.decoder.head_dim != 0 ||
        shape[0] / config.decoder.head_dim > config.decoder.num_heads ||
        shape[1] != config.d_model) {
      return InvalidArgument(
          fmt::format("{}: shape {} is not [KV heads x {}, {}] with at most {} heads",
                      checkpoint.Describe(name), ShapeText(shape), config.decoder.head_dim,
                      config.d_model, config.decoder.num_heads));
    }
    if (first.empty()) {
      first = name;
      rows = shape[0];
    } else if (shape[0] != rows) {
      return InvalidArgument(fmt::format("{}: {} rows where {} has {}{}", checkpoint.Describe(name),
                                         shape[0], first, rows, kSayIt));
    }
  }
  return static_cast<uint32_t>(rows / config.decoder.head_dim);
}

// Tells the three weighted variants apart by the shape of wk1.
StatusOr<AttentionVariant> WeightedByShape(const ModelConfig& config, const Checkpoint& checkpoint,
                                           const std::string& wk1) {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, checkpoint.Shape(wk1));
  std::vector<AttentionVariant> fits;
  if (shape.size() == 2 && shape[0] == config.decoder.num_heads) {
    if (shape[1] == 1) fits.push_back(AttentionVariant::kWgqa);
    if (shape[1] == config.decoder.head_dim) fits.push_back(AttentionVariant::kColWgqa);
    if (shape[1] == config.d_model) fits.push_back(AttentionVariant::kRowWgqa);
  }
  if (fits.empty()) {
    return InvalidArgument(
        fmt::format("{}: shape {} is none of [{}, 1], [{}, {}], [{}, {}]", checkpoint.Describe(wk1),
                    ShapeText(shape), config.decoder.num_heads, config.decoder.num_heads,
                    config.decoder.head_dim, config.decoder.num_heads, config.d_model));
  }
  if (fits.size() > 1) {
    return InvalidArgument(fmt::format("{}: shape {} fits {} and {}{}", checkpoint.Describe(wk1),
                                       ShapeText(shape), AttentionVariantName(fits[0]),
                                       AttentionVariantName(fits[1]), kSayIt));
  }
  return fits[0];
}

StatusOr<AttentionVariant> VariantByShapes(const ModelConfig& config,
                                           const Checkpoint& checkpoint) {
  if (const std::string norm = FirstWith(config, checkpoint, "cached_norm"); !norm.empty()) {
    return InvalidArgument(
        fmt::format("{}: is of dgqa_diff or of dgqa_ema{}", checkpoint.Describe(norm), kSayIt));
  }
  if (const std::string wk1 = FirstWith(config, checkpoint, "wk1"); !wk1.empty()) {
    return WeightedByShape(config, checkpoint, wk1);
  }
  PRECIS_ASSIGN_OR_RETURN(const uint32_t stored, StoredHeads(config, checkpoint));
  const uint32_t groups = config.num_key_value_heads.value_or(stored);
  if (stored == config.decoder.num_heads && groups == config.decoder.num_heads)
    return AttentionVariant::kMha;
  return groups == 1 ? AttentionVariant::kMqa : AttentionVariant::kGqa;
}

StatusOr<uint32_t> KvHeads(const ModelConfig& config, const Checkpoint& checkpoint,
                           AttentionVariant variant) {
  const std::optional<uint32_t> said = config.num_key_value_heads;
  uint32_t must_be = 0;
  if (variant == AttentionVariant::kMha) must_be = config.decoder.num_heads;
  if (variant == AttentionVariant::kMqa) must_be = 1;
  if (variant == AttentionVariant::kQcqa) {
    for (const auto* layers : {&config.listed_groups.self, &config.listed_groups.cross}) {
      for (const HeadGrouping& grouping : *layers) {
        must_be = std::max(must_be, static_cast<uint32_t>(grouping.groups.size()));
      }
    }
  }
  if (must_be != 0) {
    if (!said || *said == must_be) return must_be;
    return InvalidArgument(fmt::format("{}: num_key_value_heads: {}, but {} has {} here",
                                       config.file, *said, AttentionVariantName(variant), must_be));
  }
  if (said) return *said;
  if (MayBeStoredGrouped(variant)) {
    PRECIS_ASSIGN_OR_RETURN(const uint32_t stored, StoredHeads(config, checkpoint));
    if (stored < config.decoder.num_heads && config.decoder.num_heads % stored == 0) return stored;
  }
  return InvalidArgument(fmt::format("{}: num_key_value_heads: is missing; {} needs it",
                                     config.file, AttentionVariantName(variant)));
}

}  // namespace

std::string_view AttentionVariantName(AttentionVariant variant) {
  switch (variant) {
    case AttentionVariant::kMha:
      return "mha";
    case AttentionVariant::kGqa:
      return "gqa";
    case AttentionVariant::kMqa:
      return "mqa";
    case AttentionVariant::kWgqa:
      return "wgqa";
    case AttentionVariant::kColWgqa:
      return "colwgqa";
    case AttentionVariant::kRowWgqa:
      return "rowwgqa";
    case AttentionVariant::kSimGqa:
      return "simgqa";
    case AttentionVariant::kQcqa:
      return "qcqa";
    case AttentionVariant::kKdGqa:
      return "kdgqa";
    case AttentionVariant::kDgqaDiff:
      return "dgqa_diff";
    case AttentionVariant::kDgqaEma:
      return "dgqa_ema";
    case AttentionVariant::kPgqa:
      return "pgqa";
  }
  return "unknown";
}

bool HasCachedNorm(AttentionVariant variant) {
  return variant == AttentionVariant::kDgqaDiff || variant == AttentionVariant::kDgqaEma;
}

bool AssignsHeads(AttentionVariant variant) {
  return variant == AttentionVariant::kKdGqa || HasCachedNorm(variant);
}

bool MayBeStoredGrouped(AttentionVariant variant) {
  return variant == AttentionVariant::kGqa || variant == AttentionVariant::kMqa ||
         variant == AttentionVariant::kPgqa || AssignsHeads(variant);
}

StatusOr<ResolvedAttention> ResolveAttention(const ModelConfig& config,
                                             const Checkpoint& checkpoint) {
  ResolvedAttention attention;
  if (config.attention_variant) {
    attention.variant = *config.attention_variant;
    for (const auto& [suffix, belongs] :
         {std::pair("wk1", IsWeighted(attention.variant)),
          std::pair("cached_norm", HasCachedNorm(attention.variant))}) {
      const std::string name = belongs ? "" : FirstWith(config, checkpoint, suffix);
      if (name.empty()) continue;
      return InvalidArgument(fmt::format("{}: is there, but attention_variant is {}",
                                         checkpoint.Describe(name),
                                         AttentionVariantName(attention.variant)));
    }
  } else {
    PRECIS_ASSIGN_OR_RETURN(attention.variant, VariantByShapes(config, checkpoint));
  }
  // The first ones read the norms of keys, the last one what attention gives.
  const bool reads_values =
      AssignsHeads(attention.variant) || attention.variant == AttentionVariant::kPgqa;
  if (config.biases && reads_values) {
    return Unimplemented(fmt::format(
        "{}: attention_variant: {} is not served for {}, whose keys and values have biases",
        config.file, AttentionVariantName(attention.variant), config.name));
  }
  PRECIS_ASSIGN_OR_RETURN(attention.num_kv_heads, KvHeads(config, checkpoint, attention.variant));
  return attention;
}

HeadGrouping NeighbouringHeads(uint32_t num_heads, uint32_t groups) {
  PRECIS_CHECK(groups >= 1 && groups <= num_heads);
  HeadGrouping grouping;
  uint32_t head = 0;
  for (uint32_t g = 0; g < groups; ++g) {
    const uint32_t size = num_heads / groups + (g < num_heads % groups ? 1 : 0);
    auto& group = grouping.groups.emplace_back();
    for (uint32_t i = 0; i < size; ++i) group.push_back(head++);
  }
  return grouping;
}

LayerGroupings Groupings(const ModelConfig& config, const ResolvedAttention& attention) {
  if (attention.variant == AttentionVariant::kSimGqa ||
      attention.variant == AttentionVariant::kQcqa) {
    return config.listed_groups;
  }
  const HeadGrouping even = NeighbouringHeads(config.decoder.num_heads, attention.num_kv_heads);
  const std::vector<HeadGrouping> layers(config.decoder.layers, even);
  return LayerGroupings{layers, layers};
}

}  // namespace precis
