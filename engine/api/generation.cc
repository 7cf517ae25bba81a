#include "engine/api/generation.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/api/token_constraints.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

constexpr uint32_t kMaxNgram = 1024;
constexpr float kMaxTemperature = 100.0f;
constexpr float kMaxRepetitionPenalty = 100.0f;
constexpr float kMaxLengthPenalty = 1000.0f;
constexpr size_t kMaxStopStrings = 8;
constexpr size_t kMaxStopBytes = 256;
constexpr size_t kMaxPrefixBytes = 4096;

Status CheckCount(std::string_view field, const std::optional<uint32_t>& value, uint32_t min,
                  uint32_t max) {
  if (!value || (*value >= min && *value <= max)) return OkStatus();
  return FieldError(field, fmt::format("{} is not within {} to {}", *value, min, max));
}

// NaN fails every comparison, so it fails this one.
Status CheckReal(std::string_view field, const std::optional<float>& value, float min, float max) {
  if (!value || (*value >= min && *value <= max)) return OkStatus();
  return FieldError(field, fmt::format("{} is not within {} to {}", *value, min, max));
}

Status CheckAbove0(std::string_view field, const std::optional<float>& value, float max) {
  if (!value || (*value > 0.0f && *value <= max)) return OkStatus();
  return FieldError(field, fmt::format("{} is not above 0 and at most {}", *value, max));
}

Status CheckTexts(const GenerationOverrides& request) {
  if (request.stop.size() > kMaxStopStrings) {
    return FieldError("options.stop", fmt::format("{} stop strings, at most {} are taken",
                                                  request.stop.size(), kMaxStopStrings));
  }
  for (size_t i = 0; i < request.stop.size(); ++i) {
    const std::string field = fmt::format("options.stop[{}]", i);
    const std::string& stop = request.stop[i];
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return FieldError(field,
                        fmt::format("{} bytes are not within 1 to {}", stop.size(), kMaxStopBytes));
    }
    if (FindBrokenUtf8(stop)) return FieldError(field, "is not valid UTF-8");
  }
  if (!request.prefix) return OkStatus();
  if (request.prefix->size() > kMaxPrefixBytes) {
    return FieldError("options.prefix", fmt::format("{} bytes, at most {} are taken",
                                                    request.prefix->size(), kMaxPrefixBytes));
  }
  if (FindBrokenUtf8(*request.prefix)) return FieldError("options.prefix", "is not valid UTF-8");
  return OkStatus();
}

Status CheckPositions(const std::optional<uint32_t>& max_new_tokens,
                      const GenerationLimits& limits) {
  if (!max_new_tokens || limits.max_positions == 0 || *max_new_tokens < limits.max_positions) {
    return OkStatus();
  }
  return FieldError("options.max_new_tokens",
                    fmt::format("{} and the start token are more than the {} positions of the "
                                "model's decoder; at most {} are possible",
                                *max_new_tokens, limits.max_positions, limits.max_positions - 1));
}

// Everything that can be said about the request without the checkpoint.
Status CheckRequest(const GenerationOverrides& r, const GenerationLimits& limits) {
  PRECIS_RETURN_IF_ERROR(CheckPositions(r.max_new_tokens, limits));
  PRECIS_RETURN_IF_ERROR(
      CheckCount("options.max_new_tokens", r.max_new_tokens, 1, limits.max_new_tokens));
  PRECIS_RETURN_IF_ERROR(
      CheckCount("options.min_new_tokens", r.min_new_tokens, 0, limits.max_new_tokens));
  PRECIS_RETURN_IF_ERROR(CheckCount("options.num_beams", r.num_beams, 1, limits.max_beams));
  PRECIS_RETURN_IF_ERROR(
      CheckCount("options.num_return_sequences", r.num_return_sequences, 1, limits.max_beams));
  PRECIS_RETURN_IF_ERROR(
      CheckReal("options.length_penalty", r.length_penalty, -kMaxLengthPenalty, kMaxLengthPenalty));
  PRECIS_RETURN_IF_ERROR(
      CheckCount("options.no_repeat_ngram_size", r.no_repeat_ngram_size, 0, kMaxNgram));
  PRECIS_RETURN_IF_ERROR(
      CheckAbove0("options.repetition_penalty", r.repetition_penalty, kMaxRepetitionPenalty));
  PRECIS_RETURN_IF_ERROR(CheckReal("options.temperature", r.temperature, 0.0f, kMaxTemperature));
  PRECIS_RETURN_IF_ERROR(CheckCount("options.top_k", r.top_k, 0, limits.vocab_size));
  PRECIS_RETURN_IF_ERROR(CheckAbove0("options.top_p", r.top_p, 1.0f));
  PRECIS_RETURN_IF_ERROR(CheckTokenConstraints(r, limits));
  return CheckTexts(r);
}

// The request's word, else the checkpoint's, else what `out` holds already: ours.
template <typename T>
void Pick(const std::optional<T>& request, const std::optional<T>& checkpoint, T* out) {
  if (request) {
    *out = *request;
  } else if (checkpoint) {
    *out = *checkpoint;
  }
}

Status ResolveLengths(const GenerationOverrides& checkpoint, const GenerationOverrides& request,
                      const GenerationLimits& limits, ResolvedOptions* out) {
  GenerationOptions& o = out->options;
  Pick(request.max_new_tokens, checkpoint.max_new_tokens, &o.max_new_tokens);
  if (o.max_new_tokens > limits.max_new_tokens) {
    if (checkpoint.max_new_tokens) {
      out->warnings.push_back(
          fmt::format("max_new_tokens {} of the checkpoint is above the server's limit; {} is used",
                      o.max_new_tokens, limits.max_new_tokens));
    }
    o.max_new_tokens = limits.max_new_tokens;
  }
  Pick(request.min_new_tokens, checkpoint.min_new_tokens, &o.min_new_tokens);
  if (o.min_new_tokens <= o.max_new_tokens) return OkStatus();
  if (request.min_new_tokens) {
    return FieldError("options.min_new_tokens", fmt::format("{} is more than max_new_tokens, {}",
                                                            o.min_new_tokens, o.max_new_tokens));
  }
  out->warnings.push_back(
      fmt::format("min_new_tokens {} of the checkpoint is more than max_new_tokens; {} is used",
                  o.min_new_tokens, o.max_new_tokens));
  o.min_new_tokens = o.max_new_tokens;
  return OkStatus();
}

Status ResolveSampling(const GenerationOverrides& checkpoint, const GenerationOverrides& request,
                       const GenerationLimits& limits, uint64_t seed_if_absent,
                       GenerationOptions* o) {
  Pick(request.temperature, checkpoint.temperature, &o->temperature);
  Pick(request.top_k, checkpoint.top_k, &o->top_k);
  Pick(request.top_p, checkpoint.top_p, &o->top_p);
  o->top_k = std::min(o->top_k, limits.vocab_size);  // more than all is all
  o->seed = request.seed.value_or(o->Samples() ? seed_if_absent : 0);
  if (o->Samples()) return OkStatus();
  // Said in vain is a misunderstanding. A seed is not: it may stand in every request of a client
  // that wants to repeat them. Nor are the values that mean "all".
  constexpr std::string_view kNeedsTemperature = "needs options.temperature above 0";
  if (request.top_k.value_or(0) != 0) return FieldError("options.top_k", kNeedsTemperature);
  if (request.top_p.value_or(1.0f) != 1.0f) return FieldError("options.top_p", kNeedsTemperature);
  o->top_k = 0;
  o->top_p = 1.0f;
  return OkStatus();
}

// Requires that temperature is resolved: beams and sampling exclude each other.
Status ResolveBeams(const GenerationOverrides& checkpoint, const GenerationOverrides& request,
                    const GenerationLimits& limits, ResolvedOptions* out) {
  GenerationOptions& o = out->options;
  Pick(request.length_penalty, checkpoint.length_penalty, &o.length_penalty);
  Pick(request.early_stopping, checkpoint.early_stopping, &o.early_stopping);
  Pick(request.num_beams, checkpoint.num_beams, &o.num_beams);
  if (o.Samples() && o.num_beams > 1) {
    if (request.num_beams) {
      return FieldUnimplemented("options.num_beams",
                                "beams that sample are not served: use 1, or temperature 0");
    }
    out->warnings.push_back(fmt::format(
        "num_beams {} of the checkpoint does not go with sampling; 1 is used", o.num_beams));
    o.num_beams = 1;
  }
  if (!request.num_beams && o.num_beams > limits.max_beams) {
    out->warnings.push_back(
        fmt::format("num_beams {} of the checkpoint is above the server's limit; {} is used",
                    o.num_beams, limits.max_beams));
    o.num_beams = limits.max_beams;
  }
  Pick(request.num_return_sequences, checkpoint.num_return_sequences, &o.num_return_sequences);
  if (o.Samples()) {  // as many samples of their own; a checkpoint may ask for more than we take
    o.num_return_sequences = std::min(o.num_return_sequences, limits.max_beams);
    return OkStatus();
  }
  if (o.num_return_sequences <= o.num_beams) return OkStatus();
  if (request.num_return_sequences) {
    return FieldError("options.num_return_sequences",
                      fmt::format("{} is more than num_beams, {}, and nothing is sampled",
                                  o.num_return_sequences, o.num_beams));
  }
  o.num_return_sequences = o.num_beams;
  return OkStatus();
}

// The options of a reply have room for one.
void WarnOfSeveral(std::string_view which, const std::vector<int32_t>& forced,
                   std::vector<std::string>* warnings) {
  if (forced.size() < 2) return;
  warnings->push_back(fmt::format("the checkpoint forces the {} token to be one of {}", which,
                                  fmt::join(forced, ", ")));
}

void ResolvePrefix(const GenerationOverrides& checkpoint, const GenerationOverrides& request,
                   ResolvedOptions* out) {
  Pick(request.prefix, checkpoint.prefix, &out->options.prefix);
  if (request.prefix) {
    out->prefix_from = ResolvedOptions::PrefixFrom::kRequest;
  } else if (checkpoint.prefix) {
    out->prefix_from = ResolvedOptions::PrefixFrom::kCheckpoint;
  }
}

}  // namespace

StatusOr<ResolvedOptions> ResolveOptions(const GenerationDefaults& defaults,
                                         const GenerationOverrides& request,
                                         const GenerationLimits& limits, uint64_t seed_if_absent) {
  PRECIS_RETURN_IF_ERROR(CheckRequest(request, limits));
  const GenerationOverrides& checkpoint = defaults.values;
  ResolvedOptions out;
  PRECIS_RETURN_IF_ERROR(ResolveLengths(checkpoint, request, limits, &out));
  Pick(request.no_repeat_ngram_size, checkpoint.no_repeat_ngram_size,
       &out.options.no_repeat_ngram_size);
  Pick(request.repetition_penalty, checkpoint.repetition_penalty, &out.options.repetition_penalty);
  PRECIS_RETURN_IF_ERROR(
      ResolveSampling(checkpoint, request, limits, seed_if_absent, &out.options));
  PRECIS_RETURN_IF_ERROR(ResolveBeams(checkpoint, request, limits, &out));
  PRECIS_RETURN_IF_ERROR(ResolveTokenConstraints(checkpoint, request, limits, &out.options));
  WarnOfSeveral("first", out.options.forced_bos_token_ids, &out.warnings);
  WarnOfSeveral("last", out.options.forced_eos_token_ids, &out.warnings);
  ResolvePrefix(checkpoint, request, &out);
  out.options.noise_seed = request.noise_seed.value_or(0);
  out.options.stop = request.stop;
  Pick(request.drafting, checkpoint.drafting, &out.options.drafting);
  return out;
}

}  // namespace precis
