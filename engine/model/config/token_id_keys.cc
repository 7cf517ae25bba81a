#include "engine/model/config/token_id_keys.h"

#include <optional>
#include <string_view>
#include <vector>

#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

std::optional<uint32_t> ToId(const json& value, uint32_t vocab_size) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= vocab_size) return std::nullopt;
  return value.get<uint32_t>();
}

// Nothing for what is no list of min to max ids.
std::optional<std::vector<uint32_t>> ToIds(const json& value, size_t min, size_t max,
                                           uint32_t vocab_size) {
  if (!value.is_array() || value.size() < min || value.size() > max) return std::nullopt;
  std::vector<uint32_t> ids;
  for (const json& item : value) {
    const std::optional<uint32_t> id = ToId(item, vocab_size);
    if (!id) return std::nullopt;
    ids.push_back(*id);
  }
  return ids;
}

Status ReadForced(const JsonKeys& keys, std::string_view key, uint32_t vocab_size,
                  std::optional<std::vector<uint32_t>>* out) {
  const json* value = keys.Find(key);
  if (value == nullptr) return OkStatus();
  *out = ToIds(value->is_array() ? *value : json::array({*value}), 1, kMaxEndTokens, vocab_size);
  if (*out) return OkStatus();
  return keys.Error(
      key, fmt::format("must be an id of the {} of the vocabulary, or 1 to {}, not {}", vocab_size,
                       kMaxEndTokens, ShownJson(*value)));
}

Status ReadSuppressed(const JsonKeys& keys, uint32_t vocab_size,
                      std::optional<std::vector<uint32_t>>* out) {
  constexpr std::string_view kKey = "suppress_tokens";
  const json* value = keys.Find(kKey);
  if (value == nullptr) return OkStatus();
  *out = ToIds(*value, 0, kMaxSuppressedTokens, vocab_size);
  if (*out) return OkStatus();
  return keys.Error(kKey, fmt::format("must be a list of at most {} ids below {}, not {}",
                                      kMaxSuppressedTokens, vocab_size, ShownJson(*value)));
}

Status ReadBadWords(const JsonKeys& keys, uint32_t vocab_size,
                    std::optional<std::vector<std::vector<uint32_t>>>* out) {
  constexpr std::string_view kKey = "bad_words_ids";
  const json* value = keys.Find(kKey);
  if (value == nullptr) return OkStatus();
  if (!value->is_array() || value->size() > kMaxBadWords) {
    return keys.Error(kKey, fmt::format("must be a list of at most {} lists, not {}", kMaxBadWords,
                                        ShownJson(*value)));
  }
  out->emplace();
  for (const json& item : *value) {
    auto word = ToIds(item, 1, kMaxBadWordIds, vocab_size);
    if (!word) {
      return keys.Error(kKey, fmt::format("must have lists of 1 to {} ids below {}, not {}",
                                          kMaxBadWordIds, vocab_size, ShownJson(item)));
    }
    (*out)->push_back(*std::move(word));
  }
  return OkStatus();
}

}  // namespace

Status ReadTokenConstraints(const JsonKeys& keys, uint32_t vocab_size,
                            GenerationOverrides* values) {
  PRECIS_RETURN_IF_ERROR(
      ReadForced(keys, "forced_bos_token_id", vocab_size, &values->forced_bos_token_ids));
  PRECIS_RETURN_IF_ERROR(
      ReadForced(keys, "forced_eos_token_id", vocab_size, &values->forced_eos_token_ids));
  PRECIS_RETURN_IF_ERROR(ReadSuppressed(keys, vocab_size, &values->suppressed_token_ids));
  return ReadBadWords(keys, vocab_size, &values->bad_words);
}

}  // namespace precis
