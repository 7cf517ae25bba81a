#include "server/rpc/reply.h"

namespace precis {
namespace {

namespace v1 = precis::v1;

v1::EarlyStopping ToEarlyStopping(EarlyStopping value) {
  switch (value) {
    case EarlyStopping::kFalse:
      return v1::EARLY_STOPPING_FALSE;
    case EarlyStopping::kTrue:
      return v1::EARLY_STOPPING_TRUE;
    case EarlyStopping::kNever:
      return v1::EARLY_STOPPING_NEVER;
  }
  return v1::EARLY_STOPPING_UNSPECIFIED;
}

v1::FinishReason ToFinishReason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return v1::FINISH_REASON_END_OF_SEQUENCE;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    // These end the request, not a summary.
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
    case FinishReason::kError:
      break;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::PrefixSource ToPrefixSource(ResolvedOptions::PrefixFrom from) {
  switch (from) {
    case ResolvedOptions::PrefixFrom::kNone:
      return v1::PREFIX_SOURCE_NONE;
    case ResolvedOptions::PrefixFrom::kCheckpoint:
      return v1::PREFIX_SOURCE_CHECKPOINT;
    case ResolvedOptions::PrefixFrom::kRequest:
      return v1::PREFIX_SOURCE_REQUEST;
  }
  return v1::PREFIX_SOURCE_UNSPECIFIED;
}

// Empty lists are sent, so that the options sent back mean the same to any checkpoint.
void FillTokenConstraints(const GenerationOptions& o, v1::GenerationOptions* out) {
  // Several, which only a checkpoint can force, have no field; a warning of the reply lists them.
  if (o.forced_bos_token_ids.size() == 1) {
    out->set_forced_bos_token_id(static_cast<uint32_t>(o.forced_bos_token_ids[0]));
  }
  if (o.forced_eos_token_ids.size() == 1) {
    out->set_forced_eos_token_id(static_cast<uint32_t>(o.forced_eos_token_ids[0]));
  }
  v1::TokenIds* const suppressed = out->mutable_suppressed_token_ids();
  for (const int32_t id : o.suppressed_token_ids) suppressed->add_ids(static_cast<uint32_t>(id));
  v1::BadWords* const bad_words = out->mutable_bad_words();
  for (const std::vector<int32_t>& word : o.bad_words) {
    v1::TokenIds* const ids = bad_words->add_words();
    for (const int32_t id : word) ids->add_ids(static_cast<uint32_t>(id));
  }
}

v1::LongDocumentPolicy ToLongDocumentPolicy(LongDocumentPolicy policy) {
  switch (policy) {
    case LongDocumentPolicy::kRefuse:
      return v1::LONG_DOCUMENT_POLICY_REFUSE;
    case LongDocumentPolicy::kTruncate:
      return v1::LONG_DOCUMENT_POLICY_TRUNCATE;
    case LongDocumentPolicy::kWindows:
      return v1::LONG_DOCUMENT_POLICY_WINDOWS;
  }
  return v1::LONG_DOCUMENT_POLICY_UNSPECIFIED;
}

v1::Priority ToPriority(Priority priority) {
  switch (priority) {
    case Priority::kHigh:
      return v1::PRIORITY_HIGH;
    case Priority::kNormal:
      return v1::PRIORITY_NORMAL;
    case Priority::kLow:
      return v1::PRIORITY_LOW;
  }
  return v1::PRIORITY_UNSPECIFIED;
}

void FillOptions(const GenerationOptions& o, LongDocumentPolicy policy, Priority priority,
                 const ModelInfo& model, v1::GenerationOptions* out) {
  out->set_max_new_tokens(o.max_new_tokens);
  out->set_min_new_tokens(o.min_new_tokens);
  out->set_num_beams(o.num_beams);
  out->set_num_return_sequences(o.num_return_sequences);
  out->set_length_penalty(o.length_penalty);
  out->set_early_stopping(ToEarlyStopping(o.early_stopping));
  out->set_no_repeat_ngram_size(o.no_repeat_ngram_size);
  out->set_repetition_penalty(o.repetition_penalty);
  out->set_temperature(o.temperature);
  if (o.Samples()) {  // a greedy request may not name these
    out->set_top_k(o.top_k);
    out->set_top_p(o.top_p);
    out->set_seed(o.seed);
  }
  if (model.subtracts_noise) out->set_noise_seed(o.noise_seed);
  FillTokenConstraints(o, out);
  for (const std::string& stop : o.stop) out->add_stop(stop);
  out->set_prefix(o.prefix);
  out->set_drafting(v1::DRAFTING_OFF);
  out->set_priority(v1::PRIORITY_NORMAL);
  out->set_long_document_policy(ToLongDocumentPolicy(policy));
  out->set_priority(ToPriority(priority));
  out->set_drafting(o.drafting == Drafting::kOff || o.num_beams > 1 ? v1::DRAFTING_OFF
                                                                    : v1::DRAFTING_PROMPT_LOOKUP);
}

void FillSequence(const SummaryText& in, bool beams, v1::SummarySequence* out) {
  out->set_text(in.text);
  out->set_finish_reason(ToFinishReason(in.finish_reason));
  if (beams) out->set_score(static_cast<float>(in.score));
  out->set_generated_tokens(static_cast<uint32_t>(in.token_ids.size()));
  for (const int32_t id : in.token_ids) out->add_token_ids(static_cast<uint32_t>(id));
}

}  // namespace

v1::Summary ToSummary(const Summary& summary, const ModelInfo& model,
                      const std::string& request_id) {
  v1::Summary out;
  const GenerationOptions& options = summary.effective.options;
  for (const SummaryText& sequence : summary.sequences) {
    FillSequence(sequence, options.num_beams > 1, out.add_sequences());
  }
  FillOptions(options, summary.long_document_policy, summary.priority, model,
              out.mutable_effective_options());
  out.set_prefix_source(ToPrefixSource(summary.effective.prefix_from));
  if (options.Samples()) out.set_seed_used(options.seed);
  out.set_model(model.name);
  out.set_model_fingerprint(model.fingerprint);
  out.set_numerics(model.numerics);
  out.set_source_tokens(summary.source_tokens);
  out.set_source_tokens_dropped(summary.source_tokens_dropped);
  out.set_windows(summary.windows);
  out.set_cache_hit(summary.cache_hit);
  out.set_generated_tokens(summary.generated_tokens);
  for (const std::string& warning : summary.warnings) out.add_warnings(warning);
  out.mutable_timings()->set_queue_seconds(Seconds(summary.timings.queue));
  out.mutable_timings()->set_first_token_seconds(Seconds(summary.timings.first_token));
  out.mutable_timings()->set_total_seconds(Seconds(summary.timings.total));
  out.set_request_id(request_id);
  return out;
}

v1::Model ToModel(const Engine& engine) {
  const ModelInfo& model = engine.info();
  v1::Model out;
  out.set_name(model.name);
  out.set_fingerprint(model.fingerprint);
  out.set_architecture(model.architecture);
  out.set_attention_variant(model.attention_variant);
  out.set_numerics(model.numerics);
  out.set_vocab_size(model.vocab_size);
  out.set_max_source_tokens(engine.options().max_source_tokens);
  out.set_max_new_tokens(engine.options().max_new_tokens);
  out.set_trained_source_tokens(model.n_positions);
  out.set_default_prefix_source(v1::PREFIX_SOURCE_NONE);
  // A checkpoint may have defaults that a request must override; then there are none to tell.
  if (const auto resolved = ResolveOptions(model.defaults, {}, engine.generation_limits(), 0);
      resolved.ok()) {
    FillOptions(resolved->options, LongDocumentPolicy::kRefuse, Priority::kNormal, model,
                out.mutable_default_options());
    out.set_default_prefix_source(ToPrefixSource(resolved->prefix_from));
  }
  return out;
}

}  // namespace precis
