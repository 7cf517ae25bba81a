#include "engine/api/token_constraints.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"

namespace precis {
namespace {

Status CheckId(std::string_view field, uint32_t id, const GenerationLimits& limits) {
  if (id < limits.vocab_size) return OkStatus();
  return FieldError(field,
                    fmt::format("{} is not an id; the vocabulary has {}", id, limits.vocab_size));
}

Status CheckIds(std::string_view field, const std::vector<uint32_t>& ids,
                const GenerationLimits& limits) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < limits.vocab_size) continue;
    return CheckId(fmt::format("{}.ids[{}]", field, i), ids[i], limits);
  }
  return OkStatus();
}

Status CheckBadWords(const std::vector<std::vector<uint32_t>>& words,
                     const GenerationLimits& limits) {
  if (words.size() > kMaxBadWords) {
    return FieldError("options.bad_words", fmt::format("{} sequences, at most {} are taken",
                                                       words.size(), kMaxBadWords));
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string field = fmt::format("options.bad_words[{}]", i);
    if (words[i].empty() || words[i].size() > kMaxBadWordIds) {
      return FieldError(
          field, fmt::format("{} ids are not within 1 to {}", words[i].size(), kMaxBadWordIds));
    }
    PRECIS_RETURN_IF_ERROR(CheckIds(field, words[i], limits));
  }
  return OkStatus();
}

std::vector<int32_t> ToIds(const std::vector<uint32_t>& ids) { return {ids.begin(), ids.end()}; }

// A suppressed token stays suppressed where it is forced; without another one nothing is possible.
Status CheckForced(std::string_view field, const std::vector<int32_t>& forced,
                   const GenerationOptions& o) {
  const auto suppressed = [&](int32_t id) {
    return std::ranges::count(o.suppressed_token_ids, id) > 0;
  };
  if (forced.empty() || !std::ranges::all_of(forced, suppressed)) return OkStatus();
  return FieldError(field, fmt::format("{} is one of the suppressed tokens", forced.front()));
}

Status CheckForcedIds(std::string_view field, const std::optional<std::vector<uint32_t>>& ids,
                      const GenerationLimits& limits) {
  if (!ids) return OkStatus();
  for (const uint32_t id : *ids) PRECIS_RETURN_IF_ERROR(CheckId(field, id, limits));
  return OkStatus();
}

// Something besides the ends must remain, or no text is possible; only a tiny vocabulary can run
// out.
Status CheckSomeRemain(const GenerationOptions& o, const GenerationLimits& limits) {
  const size_t ends = limits.end_tokens;
  if (o.suppressed_token_ids.size() + o.bad_words.size() + ends < limits.vocab_size) {
    return OkStatus();
  }
  std::vector<int32_t> banned = o.suppressed_token_ids;
  for (const std::vector<int32_t>& word : o.bad_words) {
    if (word.size() == 1) banned.push_back(word[0]);
  }
  std::ranges::sort(banned);
  banned.erase(std::unique(banned.begin(), banned.end()), banned.end());
  if (banned.size() + ends < limits.vocab_size) return OkStatus();
  return FieldError(
      o.suppressed_token_ids.empty() ? "options.bad_words" : "options.suppressed_token_ids",
      fmt::format("{} of the vocabulary's {} tokens are forbidden", banned.size(),
                  limits.vocab_size));
}

}  // namespace

Status CheckTokenConstraints(const GenerationOverrides& request, const GenerationLimits& limits) {
  PRECIS_RETURN_IF_ERROR(
      CheckForcedIds("options.forced_bos_token_id", request.forced_bos_token_ids, limits));
  PRECIS_RETURN_IF_ERROR(
      CheckForcedIds("options.forced_eos_token_id", request.forced_eos_token_ids, limits));
  if (request.suppressed_token_ids) {
    constexpr std::string_view kField = "options.suppressed_token_ids";
    if (request.suppressed_token_ids->size() > kMaxSuppressedTokens) {
      return FieldError(
          kField, fmt::format("{} ids, at most {} are taken", request.suppressed_token_ids->size(),
                              kMaxSuppressedTokens));
    }
    PRECIS_RETURN_IF_ERROR(CheckIds(kField, *request.suppressed_token_ids, limits));
  }
  return request.bad_words ? CheckBadWords(*request.bad_words, limits) : OkStatus();
}

Status ResolveTokenConstraints(const GenerationOverrides& checkpoint,
                               const GenerationOverrides& request, const GenerationLimits& limits,
                               GenerationOptions* out) {
  const auto pick = [&](auto member) -> const auto& {
    return (request.*member) ? request.*member : checkpoint.*member;
  };
  if (const auto& ids = pick(&GenerationOverrides::forced_bos_token_ids)) {
    out->forced_bos_token_ids = ToIds(*ids);
  }
  if (const auto& ids = pick(&GenerationOverrides::forced_eos_token_ids)) {
    out->forced_eos_token_ids = ToIds(*ids);
  }
  if (const auto& ids = pick(&GenerationOverrides::suppressed_token_ids)) {
    out->suppressed_token_ids = ToIds(*ids);
  }
  if (const auto& words = pick(&GenerationOverrides::bad_words)) {
    for (const std::vector<uint32_t>& word : *words) out->bad_words.push_back(ToIds(word));
  }
  PRECIS_RETURN_IF_ERROR(
      CheckForced("options.forced_bos_token_id", out->forced_bos_token_ids, *out));
  PRECIS_RETURN_IF_ERROR(
      CheckForced("options.forced_eos_token_id", out->forced_eos_token_ids, *out));
  return CheckSomeRemain(*out, limits);
}

}  // namespace precis
