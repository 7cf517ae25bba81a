#include "cli/model/inspect.h"

#include <algorithm>
#include <vector>

#include "common/log.h"
#include "engine/api/machine.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis::cli {
namespace {

void Line(std::string& out, const char* name, const std::string& value) {
  out += fmt::format("{:<18} {}\n", name, value);
}

// A number of both stacks, or those of each.
std::string OfStacks(uint32_t encoder, uint32_t decoder) {
  if (encoder == decoder) return fmt::format("{}", encoder);
  return fmt::format("{} encoder and {} decoder", encoder, decoder);
}

void AddShape(const Inspection& inspection, std::string& out) {
  const ModelInfo& info = inspection.info;
  Line(out, "model", fmt::format("{} ({})", info.name, info.fingerprint));
  Line(out, "architecture", info.architecture);
  const StackShape& encoder = info.encoder;
  const StackShape& decoder = info.decoder;
  Line(out, "layers", fmt::format("{} encoder, {} decoder", encoder.layers, decoder.layers));
  Line(out, "sizes",
       fmt::format("d_model {}, d_ff {}, d_kv {}, vocabulary {}", info.d_model,
                   OfStacks(encoder.d_ff, decoder.d_ff),
                   OfStacks(encoder.head_dim, decoder.head_dim), info.vocab_size));
  if (encoder.max_positions != 0) {
    Line(out, "positions", OfStacks(encoder.max_positions, decoder.max_positions));
  }
  Line(out, "parameters", fmt::format("{}", inspection.parameters));
  Line(out, "tokenizer", inspection.tokenizer);
}

void AddGrouping(const ModelInfo& info, std::string& out) {
  Line(out, "attention", info.attention_variant);
  Line(out, "query heads",
       fmt::format("{}{}", OfStacks(info.encoder.num_heads, info.decoder.num_heads),
                   info.assigns_heads ? ", assigned by the norms of the keys so far" : ""));
  if (info.subtracts_noise) Line(out, "noise", "follows the request's noise_seed");
  Line(out, "self KV heads", HeadsByLayer(info.self_kv_heads));
  Line(out, "cross KV heads", HeadsByLayer(info.cross_kv_heads));
  if (info.folded.empty()) Line(out, "folded at load", "nothing");
  for (const std::string& fold : info.folded) Line(out, "folded at load", fold);
}

const char* Word(EarlyStopping value) {
  switch (value) {
    case EarlyStopping::kFalse:
      return "false";
    case EarlyStopping::kTrue:
      return "true";
    case EarlyStopping::kNever:
      return "never";
  }
  return "";
}

// In the order in which they act; those that do nothing are left out.
std::string Choice(const GenerationOptions& o) {
  if (o.num_beams > 1) {
    return fmt::format(
        "num_beams {}, num_return_sequences {}, length_penalty {}, early_stopping {}", o.num_beams,
        o.num_return_sequences, o.length_penalty, Word(o.early_stopping));
  }
  if (!o.Samples()) return "greedy";
  return fmt::format("temperature {}, top_k {}, top_p {}", o.temperature, o.top_k, o.top_p);
}

std::string Limits(const GenerationOptions& o) {
  std::string text = fmt::format("max_new_tokens {}", o.max_new_tokens);
  if (o.min_new_tokens > 0) text += fmt::format(", min_new_tokens {}", o.min_new_tokens);
  if (o.no_repeat_ngram_size > 0) {
    text += fmt::format(", no_repeat_ngram_size {}", o.no_repeat_ngram_size);
  }
  if (o.repetition_penalty != 1.0f) {
    text += fmt::format(", repetition_penalty {}", o.repetition_penalty);
  }
  if (!o.forced_bos_token_ids.empty()) {
    text += fmt::format(", forced_bos_token_id {}", fmt::join(o.forced_bos_token_ids, " "));
  }
  if (!o.forced_eos_token_ids.empty()) {
    text += fmt::format(", forced_eos_token_id {}", fmt::join(o.forced_eos_token_ids, " "));
  }
  if (!o.suppressed_token_ids.empty()) {
    text += fmt::format(", suppressed_token_ids {}", fmt::join(o.suppressed_token_ids, " "));
  }
  if (!o.bad_words.empty()) text += fmt::format(", {} bad_words", o.bad_words.size());
  return text;
}

// What a request gets that says nothing.
void AddDefaults(const Inspection& inspection, std::string& out) {
  const GenerationOptions& o = inspection.effective.options;
  Line(out, "prefix", o.prefix.empty() ? "none" : '"' + JsonEscape(o.prefix) + '"');
  Line(out, "start, ends",
       fmt::format("{}; {}", inspection.info.decoder_start_token_id,
                   inspection.info.end_token_ids.empty()
                       ? "none"
                       : fmt::format("{}", fmt::join(inspection.info.end_token_ids, " "))));
  for (const std::string& note : inspection.notes) Line(out, "note", note);
  Line(out, "default choice", Choice(o));
  Line(out, "default limits", Limits(o));
  for (const std::string& warning : inspection.effective.warnings) Line(out, "warning", warning);
  for (const std::string& key : inspection.info.defaults.unsupported) {
    Line(out, "not honoured", key);
  }
}

void AddMemory(const Inspection& inspection, const InspectLoad& load, std::string& out) {
  const ModelInfo& info = inspection.info;
  const uint64_t pages =
      inspection.PageBytesFor(load.documents, load.source_tokens, load.new_tokens);
  Line(out, "weights", HumanBytes(info.weight_bytes));
  Line(out, "a source token",
       fmt::format("{} (cross-attention)", HumanBytes(info.cross_bytes_per_token)));
  Line(out, "a new token",
       fmt::format("{} (self-attention)", HumanBytes(info.self_bytes_per_token)));
  Line(out, "a page",
       fmt::format("{}: {} new tokens, or {} source tokens", HumanBytes(info.page_bytes),
                   info.self_slots, info.cross_slots));
  Line(out, "pages for load",
       fmt::format("{}: {} documents of {} tokens, {} new tokens each", HumanBytes(pages),
                   load.documents, load.source_tokens, load.new_tokens));
  Line(out, "with weights", HumanBytes(pages + info.weight_bytes));
}

}  // namespace

std::string HeadsByLayer(const std::vector<uint32_t>& kv_heads) {
  if (kv_heads.empty()) return "none";
  const bool equal = std::all_of(kv_heads.begin(), kv_heads.end(),
                                 [&](uint32_t heads) { return heads == kv_heads.front(); });
  if (equal) return fmt::format("{} in every layer", kv_heads.front());
  return fmt::format("{}, by layer", fmt::join(kv_heads, " "));
}

std::string FormatInspection(const Inspection& inspection, const InspectLoad& load) {
  std::string out;
  AddShape(inspection, out);
  AddGrouping(inspection.info, out);
  AddDefaults(inspection, out);
  AddMemory(inspection, load, out);
  return out;
}

}  // namespace precis::cli
