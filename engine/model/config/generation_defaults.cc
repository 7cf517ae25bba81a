#include "engine/model/config/generation_defaults.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "engine/model/checkpoint/json_file.h"
#include "engine/model/config/token_id_keys.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr uint32_t kMaxCount = 1u << 24;

// What one object says. max_length and min_length are converted, do_sample is not applied yet.
struct Said {
  GenerationOverrides values;
  std::optional<bool> do_sample;
};

// Keys of transformers' GenerationConfig that change a text and that we do not have, with the value
// that changes nothing; null always changes nothing.
struct ForeignKey {
  std::string_view key;
  std::string_view neutral;  // JSON
};
constexpr ForeignKey kForeign[] = {
    {"diversity_penalty", "0"},
    {"num_beam_groups", "1"},
    {"force_words_ids", "[]"},
    {"forced_decoder_ids", "[]"},
    {"begin_suppress_tokens", "[]"},
    {"constraints", "[]"},
    {"penalty_alpha", "0"},
    {"typical_p", "1"},
    {"min_p", "0"},
    {"top_h", "null"},
    {"epsilon_cutoff", "0"},
    {"eta_cutoff", "0"},
    {"encoder_repetition_penalty", "1"},
    {"encoder_no_repeat_ngram_size", "0"},
    {"exponential_decay_length_penalty", "null"},
    {"sequence_bias", "{}"},
    {"generation_kwargs", "{}"},
    {"guidance_scale", "1"},
    {"renormalize_logits", "false"},
    {"remove_invalid_values", "false"},
    {"token_healing", "false"},
    {"watermarking_config", "null"},
    {"dola_layers", "null"},
    {"max_time", "null"},
    {"stop_strings", "[]"},
};

// Keys that say how to compute or what to return, never what the text is.
constexpr std::string_view kHarmless[] = {
    "_from_model_config",
    "transformers_version",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "return_legacy_cache",
    "low_memory",
    "cache_implementation",
    "cache_config",
    "disable_compile",
    "compile_config",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "target_lookbehind",
    "_commit_hash",
};

// token_ids.cc reads them at the top of a file; a task has no ids of its own.
constexpr std::string_view kTokenIds[] = {
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
};

constexpr std::string_view kOurs[] = {
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "num_beams",
    "num_return_sequences",
    "length_penalty",
    "do_sample",
    "early_stopping",
    "top_k",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "temperature",
    "top_p",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "bad_words_ids",
};

template <typename List>
bool Contains(const List& list, std::string_view key) {
  return std::find(std::begin(list), std::end(list), key) != std::end(list);
}

const ForeignKey* FindForeign(std::string_view key) {
  const auto found = std::ranges::find(kForeign, key, &ForeignKey::key);
  return found == std::end(kForeign) ? nullptr : found;
}

Status ReadReal(const JsonKeys& keys, std::string_view key, double min, double max,
                std::optional<float>* out) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<double> value, keys.Real(key, min, max));
  if (value) *out = static_cast<float>(*value);
  return OkStatus();
}

Status ReadEarlyStopping(const JsonKeys& keys, std::optional<EarlyStopping>* out) {
  const json* value = keys.Find("early_stopping");
  if (value == nullptr) return OkStatus();
  if (value->is_boolean()) {
    *out = value->get<bool>() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
  } else if (*value == "never") {
    *out = EarlyStopping::kNever;
  } else {
    return keys.Error("early_stopping",
                      fmt::format("must be true, false or \"never\", not {}", ShownJson(*value)));
  }
  return OkStatus();
}

// max_length and min_length count the start token; max_new_tokens wins over max_length, and of two
// minima the larger one holds, as in generate().
Status ReadLengths(const JsonKeys& keys, GenerationOverrides* values) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> max_length,
                          keys.Count("max_length", 2, kMaxCount));
  PRECIS_ASSIGN_OR_RETURN(values->max_new_tokens, keys.Count("max_new_tokens", 1, kMaxCount));
  if (!values->max_new_tokens && max_length) values->max_new_tokens = *max_length - 1;
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> min_length,
                          keys.Count("min_length", 0, kMaxCount));
  PRECIS_ASSIGN_OR_RETURN(values->min_new_tokens, keys.Count("min_new_tokens", 0, kMaxCount));
  if (min_length) {
    const uint32_t without_start = *min_length > 0 ? *min_length - 1 : 0;
    values->min_new_tokens = std::max(without_start, values->min_new_tokens.value_or(0));
  }
  return OkStatus();
}

StatusOr<Said> ReadSaid(const JsonKeys& keys, uint32_t vocab_size) {
  Said said;
  GenerationOverrides& v = said.values;
  PRECIS_RETURN_IF_ERROR(ReadLengths(keys, &v));
  PRECIS_ASSIGN_OR_RETURN(v.num_beams, keys.Count("num_beams", 1, kMaxCount));
  PRECIS_ASSIGN_OR_RETURN(v.num_return_sequences, keys.Count("num_return_sequences", 1, kMaxCount));
  PRECIS_ASSIGN_OR_RETURN(v.no_repeat_ngram_size, keys.Count("no_repeat_ngram_size", 0, 1024));
  PRECIS_ASSIGN_OR_RETURN(v.top_k, keys.Count("top_k", 0, kMaxCount));
  PRECIS_RETURN_IF_ERROR(ReadReal(keys, "length_penalty", -1000, 1000, &v.length_penalty));
  PRECIS_RETURN_IF_ERROR(ReadReal(keys, "repetition_penalty", 1e-6, 100, &v.repetition_penalty));
  PRECIS_RETURN_IF_ERROR(ReadReal(keys, "temperature", 0, 100, &v.temperature));
  PRECIS_RETURN_IF_ERROR(ReadReal(keys, "top_p", 1e-6, 1, &v.top_p));
  PRECIS_RETURN_IF_ERROR(ReadEarlyStopping(keys, &v.early_stopping));
  PRECIS_RETURN_IF_ERROR(ReadTokenConstraints(keys, vocab_size, &v));
  PRECIS_ASSIGN_OR_RETURN(said.do_sample, keys.Bool("do_sample"));
  if (said.do_sample.value_or(false) && v.temperature == 0.0f) {
    return keys.Error("temperature", "must be above 0 when do_sample is true");
  }
  return said;
}

bool IsNeutral(const ForeignKey& foreign, const json& value) {
  return value == json::parse(foreign.neutral, nullptr, /*allow_exceptions=*/false);
}

// `only_known`: the object is a model's config, whose other keys are no business of generation.
void ListUnsupported(const JsonKeys& keys, bool only_known, std::vector<std::string>* out) {
  for (const auto& [key, value] : keys.object().items()) {
    if (value.is_null() || Contains(kOurs, key) || Contains(kHarmless, key)) continue;
    if (keys.path().empty() && Contains(kTokenIds, key)) continue;
    const ForeignKey* foreign = FindForeign(key);
    if (foreign == nullptr ? only_known : IsNeutral(*foreign, value)) continue;
    out->push_back(
        fmt::format("{}: {}{} = {}", keys.file(), keys.path(), Shown(key), ShownJson(value)));
  }
}

template <typename T>
void FillIfAbsent(std::optional<T>* value, const std::optional<T>& from) {
  if (!value->has_value()) *value = from;
}

void FillFrom(const Said& later, Said* said) {
  GenerationOverrides& v = said->values;
  FillIfAbsent(&v.max_new_tokens, later.values.max_new_tokens);
  FillIfAbsent(&v.min_new_tokens, later.values.min_new_tokens);
  FillIfAbsent(&v.num_beams, later.values.num_beams);
  FillIfAbsent(&v.num_return_sequences, later.values.num_return_sequences);
  FillIfAbsent(&v.length_penalty, later.values.length_penalty);
  FillIfAbsent(&v.early_stopping, later.values.early_stopping);
  FillIfAbsent(&v.no_repeat_ngram_size, later.values.no_repeat_ngram_size);
  FillIfAbsent(&v.repetition_penalty, later.values.repetition_penalty);
  FillIfAbsent(&v.temperature, later.values.temperature);
  FillIfAbsent(&v.top_k, later.values.top_k);
  FillIfAbsent(&v.top_p, later.values.top_p);
  FillIfAbsent(&v.forced_bos_token_ids, later.values.forced_bos_token_ids);
  FillIfAbsent(&v.forced_eos_token_ids, later.values.forced_eos_token_ids);
  FillIfAbsent(&v.suppressed_token_ids, later.values.suppressed_token_ids);
  FillIfAbsent(&v.bad_words, later.values.bad_words);
  FillIfAbsent(&v.prefix, later.values.prefix);
  FillIfAbsent(&said->do_sample, later.do_sample);
}

// A temperature means nothing to generate() unless do_sample is true; then it defaults to 1 and
// top_k to 50.
void ApplyDoSample(Said* said) {
  if (!said->do_sample.value_or(false)) {
    said->values.temperature.reset();
    return;
  }
  FillIfAbsent(&said->values.temperature, std::optional(1.0f));
  FillIfAbsent(&said->values.top_k, std::optional(50u));
}

Status AddTaskParams(const JsonFile& config, uint32_t vocab_size, Said* said,
                     std::vector<std::string>* unsupported) {
  const JsonKeys top(config.path, "", config.root);
  const json* tasks = top.Find("task_specific_params");
  if (tasks == nullptr) return OkStatus();
  if (!tasks->is_object()) return top.Error("task_specific_params", "must be an object");
  const JsonKeys by_task(config.path, "task_specific_params.", *tasks);
  const json* task = by_task.Find("summarization");
  if (task == nullptr) return OkStatus();
  if (!task->is_object()) return by_task.Error("summarization", "must be an object");

  json without_prefix = *task;
  without_prefix.erase("prefix");
  const JsonKeys keys(config.path, "task_specific_params.summarization.", *task);
  PRECIS_ASSIGN_OR_RETURN(Said of_task, ReadSaid(keys, vocab_size));
  PRECIS_ASSIGN_OR_RETURN(of_task.values.prefix, keys.Text("prefix"));
  FillFrom(of_task, said);
  ListUnsupported(JsonKeys(config.path, keys.path(), without_prefix), /*only_known=*/false,
                  unsupported);
  return OkStatus();
}

}  // namespace

StatusOr<GenerationDefaults> LoadGenerationDefaults(const std::string& dir) {
  PRECIS_ASSIGN_OR_RETURN(const JsonFile config,
                          ReadJsonFile(dir + "/config.json", kMaxConfigBytes));
  auto generation = ReadJsonFile(dir + "/generation_config.json", kMaxConfigBytes);
  const bool has_own = generation.ok();
  if (!has_own && generation.status().code() != absl::StatusCode::kNotFound) {
    return generation.status();
  }
  // Whether there is one is the model's business.
  PRECIS_ASSIGN_OR_RETURN(const std::optional<uint32_t> vocab_size,
                          JsonKeys(config.path, "", config.root).Count("vocab_size", 1, kMaxCount));
  const uint32_t ids = vocab_size.value_or(kMaxCount);
  GenerationDefaults defaults;
  const JsonFile& first = has_own ? *generation : config;
  const JsonKeys keys(first.path, "", first.root);
  PRECIS_ASSIGN_OR_RETURN(Said said, ReadSaid(keys, ids));
  ListUnsupported(keys, /*only_known=*/!has_own, &defaults.unsupported);
  PRECIS_RETURN_IF_ERROR(AddTaskParams(config, ids, &said, &defaults.unsupported));
  ApplyDoSample(&said);
  defaults.values = std::move(said.values);
  return defaults;
}

}  // namespace precis
