#include "engine/model/config/model_config.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "engine/model/checkpoint/json_file.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/token_ids.h"
#include "engine/model/families/family.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr uint32_t kMaxPositions = 1u << 24;

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
                          keys.Count("num_key_value_heads", 1, c->decoder.num_heads));
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
  const uint32_t groups = kv_heads.value_or(c->decoder.num_heads);
  if (c->attention_variant == AttentionVariant::kQcqa || c->decoder.num_heads % groups == 0) {
    return OkStatus();
  }
  return keys.Error("num_key_value_heads",
                    fmt::format("{} does not divide num_heads {}", groups, c->decoder.num_heads));
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
  PRECIS_RETURN_IF_ERROR(ReadHeads(keys, where, layer, c.decoder.num_heads, &order));
  PRECIS_RETURN_IF_ERROR(CheckPartition(keys, where, HeadGrouping{{order}}, c.decoder.num_heads));
  const uint32_t size = c.decoder.num_heads / *c.num_key_value_heads;
  for (uint32_t begin = 0; begin < c.decoder.num_heads; begin += size) {
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
    PRECIS_RETURN_IF_ERROR(
        ReadHeads(keys, where, group, c.decoder.num_heads, &out->groups.emplace_back()));
  }
  return CheckPartition(keys, where, *out, c.decoder.num_heads);
}

Status ReadLayers(const JsonKeys& keys, std::string_view key, const json& value,
                  std::string_view kind, const ModelConfig& c, std::vector<HeadGrouping>* out) {
  const auto list = value.is_object() ? value.find(std::string(kind)) : value.end();
  const std::string name = fmt::format("{}.{}", key, kind);
  if (list == value.end()) return keys.Error(name, "is missing");
  if (!list->is_array() || list->size() != c.decoder.layers) {
    return keys.Error(name, fmt::format("must be a list of {} decoder layers", c.decoder.layers));
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
  PRECIS_ASSIGN_OR_RETURN(static_cast<Architecture&>(config), DescribeArchitecture(keys));
  PRECIS_ASSIGN_OR_RETURN(const auto positions, keys.Count("n_positions", 0, kMaxPositions));
  config.n_positions = positions.value_or(0);
  PRECIS_RETURN_IF_ERROR(ReadQuantization(keys, &config));
  PRECIS_ASSIGN_OR_RETURN(TokenIds ids, LoadTokenIds(dir, config.vocab_size, config.tokens));
  config.tokens = std::move(ids.tokens);
  config.token_notes = std::move(ids.notes);
  PRECIS_RETURN_IF_ERROR(ReadVariant(keys, &config));
  PRECIS_RETURN_IF_ERROR(ReadListedGroups(keys, &config));
  return config;
}

}  // namespace precis
