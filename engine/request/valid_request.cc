#include "engine/request/valid_request.h"

#include <algorithm>

#include "engine/api/too_long.h"
#include "fmt/format.h"

namespace precis {
namespace {

// English has 4 to 5 bytes a piece; fewer bytes a token would only count documents too long.
constexpr uint64_t kBytesPerToken = 4;

Status CheckIds(const std::vector<int32_t>& ids, LongDocumentPolicy policy,
                const RequestLimits& limits) {
  if (ids.empty()) return FieldError("token_ids", "is empty");
  if (policy == LongDocumentPolicy::kRefuse && ids.size() > limits.source.tokens) {
    return FieldTooLarge("token_ids", SourceTooLong(ids.size(), limits.source));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto id = static_cast<uint32_t>(ids[i]);  // negative ones are beyond any vocabulary
    if (id >= limits.generation.vocab_size) {
      return FieldError(
          fmt::format("token_ids.ids[{}]", i),
          fmt::format("{} is not an id; the vocabulary has {}", id, limits.generation.vocab_size));
    }
  }
  return OkStatus();
}

Status CheckText(const std::string& text, const RequestLimits& limits) {
  if (text.empty()) return FieldError("text", "is empty");
  if (text.size() > limits.max_text_bytes) {
    return FieldTooLarge("text", fmt::format("has {} bytes, the limit is {} (--max-text-bytes); {}",
                                             text.size(), limits.max_text_bytes, kSendInParts));
  }
  return OkStatus();
}

Status CheckSource(const SummarizeRequest& request, const RequestLimits& limits) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&request.source)) {
    return CheckIds(*ids, request.long_document_policy, limits);
  }
  if (const auto* text = std::get_if<std::string>(&request.source)) {
    return CheckText(*text, limits);
  }
  return FieldError("source", "neither text nor token_ids is set");
}

// Requires that there is a source.
uint64_t EstimateSourceTokens(const Source& source) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&source)) return ids->size();
  return std::get<std::string>(source).size() / kBytesPerToken + 1;
}

}  // namespace

StatusOr<ValidRequest> ValidRequest::Validate(SummarizeRequest request,
                                              const GenerationDefaults& defaults,
                                              const RequestLimits& limits,
                                              uint64_t seed_if_absent) {
  ValidRequest out;
  PRECIS_ASSIGN_OR_RETURN(
      out.options_, ResolveOptions(defaults, request.options, limits.generation, seed_if_absent));
  PRECIS_RETURN_IF_ERROR(CheckSource(request, limits));
  const GenerationOptions& o = out.options_.options;
  out.new_tokens_ = uint64_t{o.max_new_tokens} * std::max(o.num_beams, o.num_return_sequences);
  out.cost_tokens_ = EstimateSourceTokens(request.source) + out.new_tokens_;
  out.request_ = std::move(request);
  out.request_.options = {};
  return out;
}

}  // namespace precis
