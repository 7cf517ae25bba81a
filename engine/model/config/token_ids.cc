#include "engine/model/config/token_ids.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "engine/api/generation.h"
#include "engine/model/checkpoint/json_file.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16u << 20;

struct Said {
  std::optional<std::vector<int32_t>> ends;
  std::optional<int32_t> start;
};

std::optional<int32_t> ToId(const json& value, uint32_t vocab_size) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= vocab_size) return std::nullopt;
  return value.get<int32_t>();
}

// A number stands for a list of one.
StatusOr<std::optional<std::vector<int32_t>>> ReadIds(const JsonKeys& keys, std::string_view key,
                                                      size_t most, uint32_t vocab_size) {
  const json* value = keys.Find(key);
  if (value == nullptr) return std::optional<std::vector<int32_t>>();
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<int32_t> ids;
  for (const json& item : list) {
    const std::optional<int32_t> id = ToId(item, vocab_size);
    if (!id) {
      return keys.Error(
          key, fmt::format("{} is no id of the {} of the vocabulary", ShownJson(item), vocab_size));
    }
    ids.push_back(*id);
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty() || ids.size() > most) {
    return keys.Error(key, fmt::format("has {} ids, must have 1{}", ids.size(),
                                       most > 1 ? fmt::format(" to {}", most) : ""));
  }
  return std::optional(std::move(ids));
}

StatusOr<Said> ReadSaid(const JsonKeys& keys, uint32_t vocab_size) {
  Said said;
  PRECIS_ASSIGN_OR_RETURN(said.ends, ReadIds(keys, "eos_token_id", kMaxEndTokens, vocab_size));
  for (const char* key : {"decoder_start_token_id", "bos_token_id"}) {
    PRECIS_ASSIGN_OR_RETURN(const auto start, ReadIds(keys, key, 1, vocab_size));
    if (start && !said.start) said.start = start->front();
  }
  return said;
}

}  // namespace

StatusOr<TokenIds> LoadTokenIds(const std::string& dir, uint32_t vocab_size,
                                const SpecialTokens& family) {
  PRECIS_ASSIGN_OR_RETURN(const JsonFile config,
                          ReadJsonFile(dir + "/config.json", kMaxConfigBytes));
  auto generation = ReadJsonFile(dir + "/generation_config.json", kMaxConfigBytes);
  const bool has_own = generation.ok();
  if (!has_own && generation.status().code() != absl::StatusCode::kNotFound) {
    return generation.status();
  }
  const JsonFile& first = has_own ? *generation : config;
  PRECIS_ASSIGN_OR_RETURN(Said said, ReadSaid(JsonKeys(first.path, "", first.root), vocab_size));
  TokenIds out;
  if (!said.start) {
    const Said of_file = std::move(said);
    if (has_own) {
      PRECIS_ASSIGN_OR_RETURN(said, ReadSaid(JsonKeys(config.path, "", config.root), vocab_size));
    }
    said.start = said.start.value_or(family.start);
    if (of_file.ends) said.ends = of_file.ends;
    if (!said.ends) {
      said.ends = {std::min(family.ends.front(), static_cast<int32_t>(vocab_size) - 1)};
    }
    out.notes.push_back(fmt::format(
        "{}: says neither decoder_start_token_id nor bos_token_id, with which transformers does "
        "not generate; summaries begin with {}",
        first.path, *said.start));
  } else if (!said.ends) {
    out.notes.push_back(fmt::format(
        "{}: says no eos_token_id; as with transformers, only their length ends summaries",
        first.path));
  }
  out.tokens.start = *said.start;
  out.tokens.ends = said.ends.value_or(std::vector<int32_t>());
  return out;
}

}  // namespace precis
