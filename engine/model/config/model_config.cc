#include "engine/model/config/model_config.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "engine/model/checkpoint/json_file.h"
#include "engine/model/config/attention_variant.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
// Far above every T5 there is (T5-XXL: d_ff 65,536 in v1.0, mT5's vocabulary 250,112), far below
// where a product of two overflows 64 bits.
constexpr uint32_t kMaxDimension = 1u << 24;
constexpr uint32_t kMaxHeads = 4096;
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxBuckets = 65536;

// What transformers' T5Config and MT5Config have where the file says nothing.
struct Family {
  std::string_view model_type;
  uint32_t vocab_size, d_model, d_kv, d_ff, num_layers, num_heads;
  std::string_view feed_forward_proj;
  bool may_scale;  // T5 v1.0 scales its decoder's outputs; no mT5 does, whatever its file says
};
constexpr Family kFamilies[] = {
    {"t5", 32128, 512, 64, 2048, 6, 8, "relu", true},
    {"mt5", 250112, 512, 64, 1024, 8, 6, "gated-gelu", false},
};

// A size: the key's own or its other name's, which transformers lets win; else the family's.
struct SizeKey {
  std::string_view key;
  std::string_view alias;
  uint32_t family;
  uint32_t max;
};

Status ReadSize(const JsonKeys& keys, const SizeKey& size, uint32_t* out) {
  *out = size.family;
  for (const std::string_view key : {size.key, size.alias}) {
    if (!keys.object().contains(std::string(key))) continue;
    PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> value, keys.Count(key, 1, size.max));
    if (!value) return keys.Error(key, "is missing (null)");
    *out = *value;
  }
  return OkStatus();
}

Status OptionalCount(const JsonKeys& keys, std::string_view key, uint32_t min, uint32_t max,
                     uint32_t* out) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> value, keys.Count(key, min, max));
  if (value) *out = *value;
  return OkStatus();
}

StatusOr<const Family*> ReadFamily(const JsonKeys& keys) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> type, keys.Text("model_type"));
  if (!type) return keys.Error("model_type", "is missing");
  const auto family = std::ranges::find(kFamilies, *type, &Family::model_type);
  if (family != std::end(kFamilies)) return family;
  return Unimplemented(fmt::format("{}: model_type \"{}\" is not served; t5 and mt5 are",
                                   keys.file(), Shown(*type)));
}

Status ReadSizes(const JsonKeys& keys, const Family& f, ModelConfig* c) {
  const std::pair<SizeKey, uint32_t*> sizes[] = {
      {{"d_model", "hidden_size", f.d_model, kMaxDimension}, &c->d_model},
      {{"d_kv", "head_dim", f.d_kv, kMaxDimension}, &c->head_dim},
      {{"d_ff", "d_ff", f.d_ff, kMaxDimension}, &c->d_ff},
      {{"vocab_size", "vocab_size", f.vocab_size, kMaxDimension}, &c->vocab_size},
      {{"num_heads", "num_attention_heads", f.num_heads, kMaxHeads}, &c->num_heads},
      {{"num_layers", "num_hidden_layers", f.num_layers, kMaxLayers}, &c->num_encoder_layers},
  };
  for (const auto& [size, out] : sizes) PRECIS_RETURN_IF_ERROR(ReadSize(keys, size, out));
  PRECIS_ASSIGN_OR_RETURN(const auto num_layers, keys.Count("num_layers", 1, kMaxLayers));
  c->num_decoder_layers = num_layers.value_or(f.num_layers);
  PRECIS_RETURN_IF_ERROR(
      OptionalCount(keys, "num_decoder_layers", 1, kMaxLayers, &c->num_decoder_layers));
  PRECIS_RETURN_IF_ERROR(OptionalCount(keys, "n_positions", 0, kMaxDimension, &c->n_positions));
  if (uint64_t{c->num_heads} * c->head_dim > kMaxDimension) {
    return keys.Error("d_kv", fmt::format("num_heads x d_kv = {} x {} is more than {}",
                                          c->num_heads, c->head_dim, kMaxDimension));
  }
  return OkStatus();
}

Status ReadPositionBuckets(const JsonKeys& keys, ModelConfig* c) {
  // The encoder halves the buckets twice; below 4 its formula divides by zero.
  PRECIS_RETURN_IF_ERROR(OptionalCount(keys, "relative_attention_num_buckets", 4, kMaxBuckets,
                                       &c->relative_attention_num_buckets));
  PRECIS_RETURN_IF_ERROR(OptionalCount(keys, "relative_attention_max_distance", 1, kMaxDimension,
                                       &c->relative_attention_max_distance));
  const uint32_t exact = c->relative_attention_num_buckets / 2;
  if (c->relative_attention_max_distance > exact) return OkStatus();
  return keys.Error(
      "relative_attention_max_distance",
      fmt::format("{} must be more than half of relative_attention_num_buckets, {}",
                  c->relative_attention_max_distance, c->relative_attention_num_buckets));
}

Status ReadFeedForward(const JsonKeys& keys, const Family& family, ModelConfig* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> said, keys.Text("feed_forward_proj"));
  const std::string proj = said.value_or(std::string(family.feed_forward_proj));
  if (proj != "relu" && proj != "gated-gelu") {
    return Unimplemented(
        fmt::format("{}: feed_forward_proj \"{}\" is not served; relu and gated-gelu are",
                    keys.file(), Shown(proj)));
  }
  c->gated = proj == "gated-gelu";
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

// T5's own key wins; a null there is no, and a null tie is none, as in transformers.
Status ReadScale(const JsonKeys& keys, const Family& family, ModelConfig* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> tied, keys.Bool("tie_word_embeddings"));
  PRECIS_ASSIGN_OR_RETURN(const std::optional<bool> scale, keys.Bool("scale_decoder_outputs"));
  const bool said = keys.object().contains("scale_decoder_outputs");
  c->scale_decoder_outputs =
      family.may_scale && (said ? scale.value_or(false) : tied.value_or(true));
  return OkStatus();
}

Status ReadNumerics(const JsonKeys& keys, const Family& family, ModelConfig* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<double> eps,
                          keys.Real("layer_norm_epsilon", 1e-30, 1.0));
  if (eps) c->layer_norm_epsilon = static_cast<float>(*eps);
  PRECIS_RETURN_IF_ERROR(ReadScale(keys, family, c));
  // Checked alone: nothing is padded here.
  return keys.Count("pad_token_id", 0, c->vocab_size - 1).status();
}

Status ReadQuantization(const JsonKeys& keys, ModelConfig* c) {
  const json* value = keys.Find("quantization_config");
  if (value == nullptr) return OkStatus();
  const auto method = value->is_object() ? value->find("quant_method") : value->end();
  c->quantization = ShownJson(value->is_object() && method != value->end() ? *method : *value);
  return OkStatus();
}

constexpr std::array kServed = {
    AttentionVariant::kMha,      AttentionVariant::kGqa,     AttentionVariant::kMqa,
    AttentionVariant::kWgqa,     AttentionVariant::kColWgqa, AttentionVariant::kRowWgqa,
    AttentionVariant::kSimGqa,   AttentionVariant::kQcqa,    AttentionVariant::kKdGqa,
    AttentionVariant::kDgqaDiff, AttentionVariant::kDgqaEma, AttentionVariant::kPgqa,
};

Status ReadVariant(const JsonKeys& keys, ModelConfig* c) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> kv_heads,
                          keys.Count("num_key_value_heads", 1, c->num_heads));
  c->num_key_value_heads = kv_heads;
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> name, keys.Text("attention_variant"));
  if (name) {
    std::string known;
    for (const AttentionVariant variant : kServed) {
      if (AttentionVariantName(variant) == *name) c->attention_variant = variant;
      known += fmt::format("{}{}", known.empty() ? "" : ", ", AttentionVariantName(variant));
    }
    if (!c->attention_variant) {
      return keys.Error("attention_variant",
                        fmt::format("\"{}\" is unknown; known are {}", Shown(*name), known));
    }
  }
  const uint32_t groups = kv_heads.value_or(c->num_heads);
  if (c->attention_variant == AttentionVariant::kQcqa || c->num_heads % groups == 0) {
    return OkStatus();
  }
  return keys.Error("num_key_value_heads",
                    fmt::format("{} does not divide num_heads {}", groups, c->num_heads));
}

// Checks that `groups` holds every head exactly once. `where`: "head_order.self, layer 1".
Status CheckPartition(const JsonKeys& keys, const std::string& where, const HeadGrouping& grouping,
                      uint32_t num_heads) {
  std::vector<bool> seen(num_heads, false);
  uint32_t count = 0;
  for (const std::vector<uint32_t>& group : grouping.groups) {
    if (group.empty()) return keys.Error(where, "a group is empty");
    for (const uint32_t head : group) {
      if (seen[head]) return keys.Error(where, fmt::format("head {} is there twice", head));
      seen[head] = true;
      ++count;
    }
  }
  if (count == num_heads) return OkStatus();
  const auto missing = std::ranges::find(seen, false) - seen.begin();
  return keys.Error(where, fmt::format("head {} of {} is missing", missing, num_heads));
}

Status ReadHeads(const JsonKeys& keys, const std::string& where, const json& list,
                 uint32_t num_heads, std::vector<uint32_t>* out) {
  if (!list.is_array()) {
    return keys.Error(where, fmt::format("must be a list of heads, not {}", ShownJson(list)));
  }
  for (const json& head : list) {
    if (!head.is_number_unsigned() || head.get<uint64_t>() >= num_heads) {
      return keys.Error(where,
                        fmt::format("{} is no head of 0 to {}", ShownJson(head), num_heads - 1));
    }
    out->push_back(head.get<uint32_t>());
  }
  return OkStatus();
}

// One layer of head_order: a permutation, cut into equal groups.
Status ReadOrder(const JsonKeys& keys, const std::string& where, const json& layer,
                 const ModelConfig& c, HeadGrouping* out) {
  std::vector<uint32_t> order;
  PRECIS_RETURN_IF_ERROR(ReadHeads(keys, where, layer, c.num_heads, &order));
  PRECIS_RETURN_IF_ERROR(CheckPartition(keys, where, HeadGrouping{{order}}, c.num_heads));
  const uint32_t size = c.num_heads / *c.num_key_value_heads;
  for (uint32_t begin = 0; begin < c.num_heads; begin += size) {
    out->groups.emplace_back(order.begin() + begin, order.begin() + begin + size);
  }
  return OkStatus();
}

// One layer of head_groups: any partition.
Status ReadPartition(const JsonKeys& keys, const std::string& where, const json& layer,
                     const ModelConfig& c, HeadGrouping* out) {
  if (!layer.is_array() || layer.empty()) {
    return keys.Error(where, fmt::format("must be a list of groups, not {}", ShownJson(layer)));
  }
  for (const json& group : layer) {
    PRECIS_RETURN_IF_ERROR(ReadHeads(keys, where, group, c.num_heads, &out->groups.emplace_back()));
  }
  return CheckPartition(keys, where, *out, c.num_heads);
}

Status ReadLayers(const JsonKeys& keys, std::string_view key, const json& value,
                  std::string_view kind, const ModelConfig& c, std::vector<HeadGrouping>* out) {
  const auto list = value.is_object() ? value.find(std::string(kind)) : value.end();
  const std::string name = fmt::format("{}.{}", key, kind);
  if (list == value.end()) return keys.Error(name, "is missing");
  if (!list->is_array() || list->size() != c.num_decoder_layers) {
    return keys.Error(name,
                      fmt::format("must be a list of {} decoder layers", c.num_decoder_layers));
  }
  for (size_t layer = 0; layer < list->size(); ++layer) {
    const std::string where = fmt::format("{}, layer {}", name, layer);
    HeadGrouping& grouping = out->emplace_back();
    PRECIS_RETURN_IF_ERROR(key == "head_order"
                               ? ReadOrder(keys, where, (*list)[layer], c, &grouping)
                               : ReadPartition(keys, where, (*list)[layer], c, &grouping));
  }
  return OkStatus();
}

Status ReadListedGroups(const JsonKeys& keys, ModelConfig* c) {
  for (const auto& [key, variant] : {std::pair("head_order", AttentionVariant::kSimGqa),
                                     std::pair("head_groups", AttentionVariant::kQcqa)}) {
    const json* value = keys.Find(key);
    if (c->attention_variant != variant) {
      if (value == nullptr) continue;
      return keys.Error(key, fmt::format("is there, but attention_variant is not {}",
                                         AttentionVariantName(variant)));
    }
    if (value == nullptr) {
      return keys.Error(key, fmt::format("is missing; {} needs it", AttentionVariantName(variant)));
    }
    if (variant == AttentionVariant::kSimGqa && !c->num_key_value_heads) {
      return keys.Error("num_key_value_heads", "is missing; simgqa needs it");
    }
    PRECIS_RETURN_IF_ERROR(ReadLayers(keys, key, *value, "self", *c, &c->listed_groups.self));
    PRECIS_RETURN_IF_ERROR(ReadLayers(keys, key, *value, "cross", *c, &c->listed_groups.cross));
  }
  return OkStatus();
}

}  // namespace

StatusOr<ModelConfig> LoadModelConfig(const std::string& dir) {
  PRECIS_ASSIGN_OR_RETURN(const JsonFile file, ReadJsonFile(dir + "/config.json", kMaxConfigBytes));
  const JsonKeys keys(file.path, "", file.root);
  ModelConfig config;
  config.file = file.path;
  PRECIS_ASSIGN_OR_RETURN(const Family* family, ReadFamily(keys));
  config.model_type = family->model_type;
  PRECIS_RETURN_IF_ERROR(ReadSizes(keys, *family, &config));
  PRECIS_RETURN_IF_ERROR(ReadPositionBuckets(keys, &config));
  PRECIS_RETURN_IF_ERROR(ReadFeedForward(keys, *family, &config));
  PRECIS_RETURN_IF_ERROR(ReadNumerics(keys, *family, &config));
  PRECIS_RETURN_IF_ERROR(ReadQuantization(keys, &config));
  PRECIS_ASSIGN_OR_RETURN(config.tokens, LoadTokenIds(dir, config.vocab_size));
  PRECIS_RETURN_IF_ERROR(ReadVariant(keys, &config));
  PRECIS_RETURN_IF_ERROR(ReadListedGroups(keys, &config));
  return config;
}

}  // namespace precis
