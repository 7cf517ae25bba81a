// What a user may set for one request, and what becomes of it: the request's word, else the
// checkpoint's (generation_config.json, then task_specific_params.summarization), else ours.
// Names and meaning are those of Hugging Face generate(). Thread rule: values, no state.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"

namespace precis {

enum class EarlyStopping { kFalse, kTrue, kNever };

// Tokens guessed from the document and verified several at a time. Never changes a text.
enum class Drafting { kOff, kPromptLookup };

// Most that a request or a checkpoint may forbid: each step looks at every one.
inline constexpr size_t kMaxSuppressedTokens = 1024;
inline constexpr size_t kMaxBadWords = 1024;
inline constexpr size_t kMaxBadWordIds = 64;
// Most ids that may end a summary: as many candidates more are wanted of each beam.
inline constexpr size_t kMaxEndTokens = 16;

// Whether `token` ends a summary.
inline bool IsEnd(std::span<const int32_t> end_tokens, int32_t token) {
  return std::ranges::find(end_tokens, token) != end_tokens.end();
}

// Absent means "not said"; 0 is a value.
struct GenerationOverrides {
  std::optional<uint32_t> max_new_tokens;
  std::optional<uint32_t> min_new_tokens;
  std::optional<uint32_t> num_beams;
  std::optional<uint32_t> num_return_sequences;
  std::optional<float> length_penalty;
  std::optional<EarlyStopping> early_stopping;
  std::optional<uint32_t> no_repeat_ngram_size;
  std::optional<float> repetition_penalty;
  std::optional<float> temperature;    // 0: greedy
  std::optional<uint32_t> top_k;       // 0: all
  std::optional<float> top_p;          // 1: all
  std::optional<uint64_t> seed;        // absent: drawn, and said in the reply
  std::optional<uint64_t> noise_seed;  // of attention that subtracts noise
  std::optional<std::vector<uint32_t>> forced_bos_token_ids;  // of several, any
  std::optional<std::vector<uint32_t>> forced_eos_token_ids;
  std::optional<std::vector<uint32_t>> suppressed_token_ids;  // empty: none
  std::optional<std::vector<std::vector<uint32_t>>> bad_words;
  std::vector<std::string> stop;
  std::optional<std::string> prefix;
  std::optional<Drafting> drafting;
};

// Everything decided. What the reply lists as effective options.
struct GenerationOptions {
  uint32_t max_new_tokens = 128;
  uint32_t min_new_tokens = 0;
  uint32_t num_beams = 1;
  uint32_t num_return_sequences = 1;
  float length_penalty = 1.0f;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  uint32_t no_repeat_ngram_size = 0;
  float repetition_penalty = 1.0f;
  float temperature = 0.0f;
  uint32_t top_k = 0;
  float top_p = 1.0f;
  uint64_t seed = 0;
  uint64_t noise_seed = 0;
  std::vector<int32_t> forced_bos_token_ids;    // the first token is one of these; empty: any
  std::vector<int32_t> forced_eos_token_ids;    // the last one, where max_new_tokens is reached
  std::vector<int32_t> suppressed_token_ids;    // never generated, not even where forced
  std::vector<std::vector<int32_t>> bad_words;  // sequences of tokens never generated
  std::vector<std::string> stop;
  std::string prefix;
  Drafting drafting = Drafting::kPromptLookup;  // without beams

  bool Samples() const { return temperature > 0.0f; }
};

// What a checkpoint says, and who says it: "generation_config.json" or "task_specific_params".
struct GenerationDefaults {
  GenerationOverrides values;
  // Keys of the checkpoint that we read but cannot honour, as "file: key = value"; logged at start.
  std::vector<std::string> unsupported;
};

struct GenerationLimits {
  uint32_t max_new_tokens = 1024;  // of the server; more is refused
  uint32_t vocab_size = 0;
  uint32_t max_beams = 16;  // of the server's batch
  uint32_t end_tokens = 1;  // how many ids end a summary
  // Of the decoder, for the start token and what is generated; 0: any number.
  uint32_t max_positions = 0;
};

struct ResolvedOptions {
  GenerationOptions options;
  enum class PrefixFrom { kNone, kCheckpoint, kRequest } prefix_from = PrefixFrom::kNone;
  std::vector<std::string> warnings;  // e.g. a default of the checkpoint that was not honoured
};

// FieldError ("options.top_p: ...") for a value out of range, FieldUnimplemented for one that a
// later release will honour. `seed_if_absent` is used when sampling without a seed.
StatusOr<ResolvedOptions> ResolveOptions(const GenerationDefaults& defaults,
                                         const GenerationOverrides& request,
                                         const GenerationLimits& limits, uint64_t seed_if_absent);

}  // namespace precis
