#include "server/calls/request.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "server/observe/errors.h"

namespace precis {
namespace {

namespace v1 = precis::v1;

Status CheckModel(const RequestView& view, const ModelInfo& model) {
  // The name asked for is the client's text: it is not repeated in a message that may be logged.
  if (!view.model->empty() && *view.model != model.name) {
    return FieldNotFound("model", fmt::format("no such model here; this is '{}'", model.name));
  }
  if (!view.adapter->empty()) return FieldNotFound("adapter", "this model has no adapters");
  return OkStatus();
}

Status NotYet(const char* field) {
  return FieldUnimplemented(std::string("options.") + field, "not supported by this release");
}

Status UnknownValue(const char* field, int value) {
  return FieldError(std::string("options.") + field, fmt::format("{} is not a known value", value));
}

// What later releases bring.
Status CheckUnimplemented(const v1::GenerationOptions& o) {
  if (o.has_log_probabilities()) return NotYet("log_probabilities");
  return OkStatus();
}

template <typename To, typename From>
void Copy(bool present, From value, std::optional<To>& to) {
  if (present) to = value;
}

// A list that is there and empty means none, whatever the checkpoint says.
void CopyTokenConstraints(const v1::GenerationOptions& o, GenerationOverrides* out) {
  if (o.has_forced_bos_token_id()) out->forced_bos_token_ids.emplace(1, o.forced_bos_token_id());
  if (o.has_forced_eos_token_id()) out->forced_eos_token_ids.emplace(1, o.forced_eos_token_id());
  if (o.has_suppressed_token_ids()) {
    const auto& ids = o.suppressed_token_ids().ids();
    out->suppressed_token_ids.emplace(ids.begin(), ids.end());
  }
  if (!o.has_bad_words()) return;
  out->bad_words.emplace();
  for (const v1::TokenIds& word : o.bad_words().words()) {
    out->bad_words->emplace_back(word.ids().begin(), word.ids().end());
  }
}

StatusOr<GenerationOverrides> ToOverrides(const v1::GenerationOptions& o) {
  PRECIS_RETURN_IF_ERROR(CheckUnimplemented(o));
  GenerationOverrides out;
  Copy(o.has_max_new_tokens(), o.max_new_tokens(), out.max_new_tokens);
  Copy(o.has_min_new_tokens(), o.min_new_tokens(), out.min_new_tokens);
  Copy(o.has_num_beams(), o.num_beams(), out.num_beams);
  Copy(o.has_num_return_sequences(), o.num_return_sequences(), out.num_return_sequences);
  Copy(o.has_length_penalty(), o.length_penalty(), out.length_penalty);
  Copy(o.has_no_repeat_ngram_size(), o.no_repeat_ngram_size(), out.no_repeat_ngram_size);
  Copy(o.has_repetition_penalty(), o.repetition_penalty(), out.repetition_penalty);
  Copy(o.has_temperature(), o.temperature(), out.temperature);
  Copy(o.has_top_k(), o.top_k(), out.top_k);
  Copy(o.has_top_p(), o.top_p(), out.top_p);
  Copy(o.has_seed(), o.seed(), out.seed);
  Copy(o.has_noise_seed(), o.noise_seed(), out.noise_seed);
  CopyTokenConstraints(o, &out);
  if (o.has_prefix()) out.prefix = o.prefix();
  out.stop.assign(o.stop().begin(), o.stop().end());
  if (!v1::Drafting_IsValid(o.drafting())) return UnknownValue("drafting", o.drafting());
  if (o.drafting() == v1::DRAFTING_OFF) out.drafting = Drafting::kOff;
  if (o.drafting() == v1::DRAFTING_PROMPT_LOOKUP) out.drafting = Drafting::kPromptLookup;
  switch (o.early_stopping()) {
    case v1::EARLY_STOPPING_UNSPECIFIED:
      break;
    case v1::EARLY_STOPPING_FALSE:
      out.early_stopping = EarlyStopping::kFalse;
      break;
    case v1::EARLY_STOPPING_TRUE:
      out.early_stopping = EarlyStopping::kTrue;
      break;
    case v1::EARLY_STOPPING_NEVER:
      out.early_stopping = EarlyStopping::kNever;
      break;
    default:
      return UnknownValue("early_stopping", o.early_stopping());
  }
  return out;
}

// Clamped, not refused: what a client gets among others is the operator's to weigh. The reply says
// what it got.
StatusOr<Priority> ToPriority(const v1::GenerationOptions& o, Priority most) {
  switch (o.priority()) {
    case v1::PRIORITY_LOW:
      return Priority::kLow;
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      return std::max(Priority::kNormal, most);
    case v1::PRIORITY_HIGH:
      return std::max(Priority::kHigh, most);
    default:
      return UnknownValue("priority", o.priority());
  }
}

StatusOr<LongDocumentPolicy> ToPolicy(const v1::GenerationOptions& o) {
  switch (o.long_document_policy()) {
    case v1::LONG_DOCUMENT_POLICY_UNSPECIFIED:
    case v1::LONG_DOCUMENT_POLICY_REFUSE:
      return LongDocumentPolicy::kRefuse;
    case v1::LONG_DOCUMENT_POLICY_TRUNCATE:
      return LongDocumentPolicy::kTruncate;
    case v1::LONG_DOCUMENT_POLICY_WINDOWS:
      return LongDocumentPolicy::kWindows;
    default:
      return UnknownValue("long_document_policy", o.long_document_policy());
  }
}

// Whose request it is, to the engine, and no higher priority than that client gets.
void ApplyClientLimits(const Client& client, SummarizeRequest* request) {
  request->principal = client.name;
  request->priority = std::max(request->priority, client.limits.max_priority);
}

Source ToSource(const RequestView& view) {
  if (view.token_ids != nullptr) {
    return std::vector<int32_t>(view.token_ids->ids().begin(), view.token_ids->ids().end());
  }
  if (view.text != nullptr) return *view.text;
  return {};
}

}  // namespace

StatusOr<ValidRequest> ToRequest(const RequestView& view, const Client& client,
                                 Summarizer& summarizer, const ServerOptions& options) {
  PRECIS_RETURN_IF_ERROR(CheckModel(view, summarizer.info()));
  SummarizeRequest out;
  PRECIS_ASSIGN_OR_RETURN(out.options, ToOverrides(*view.options));
  PRECIS_ASSIGN_OR_RETURN(out.long_document_policy, ToPolicy(*view.options));
  PRECIS_ASSIGN_OR_RETURN(out.priority, ToPriority(*view.options, options.max_priority));
  out.source = ToSource(view);
  ApplyClientLimits(client, &out);
  return summarizer.Validate(std::move(out));
}

}  // namespace precis
