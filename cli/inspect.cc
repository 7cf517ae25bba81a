#include "cli/inspect.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "fmt/format.h"

namespace precis::cli {
namespace {

void Line(std::string& out, const char* name, const std::string& value) {
  out += fmt::format("{:<18} {}\n", name, value);
}

void AddShape(const Inspection& inspection, std::string& out) {
  const ModelInfo& info = inspection.info;
  Line(out, "model", fmt::format("{} ({})", info.name, info.fingerprint));
  Line(out, "architecture", info.architecture);
  Line(out, "layers",
       fmt::format("{} encoder, {} decoder", info.num_encoder_layers, info.num_decoder_layers));
  Line(out, "sizes",
       fmt::format("d_model {}, d_ff {}, d_kv {}, vocabulary {}", info.d_model, info.d_ff,
                   info.head_dim, info.vocab_size));
  Line(out, "parameters", fmt::format("{}", inspection.parameters));
  Line(out, "tokenizer", inspection.tokenizer);
}

void AddGrouping(const ModelInfo& info, std::string& out) {
  Line(out, "attention", info.attention_variant);
  Line(out, "query heads",
       fmt::format("{}{}", info.num_heads,
                   info.deals_heads ? ", dealt out by the norms of the keys so far" : ""));
  if (info.subtracts_noise) Line(out, "noise", "follows the request's noise_seed");
  Line(out, "self KV heads", HeadsByLayer(info.self_kv_heads));
  Line(out, "cross KV heads", HeadsByLayer(info.cross_kv_heads));
  if (info.folded.empty()) Line(out, "folded at load", "nothing");
  for (const std::string& fold : info.folded) Line(out, "folded at load", fold);
}

void AddMemory(const Inspection& inspection, const InspectLoad& load, std::string& out) {
  const ModelInfo& info = inspection.info;
  const uint64_t pages =
      inspection.PageBytesFor(load.documents, load.source_tokens, load.new_tokens);
  Line(out, "weights", FormatBytes(info.weight_bytes));
  Line(out, "a source token",
       fmt::format("{} (cross-attention)", FormatBytes(info.cross_bytes_per_token)));
  Line(out, "a new token",
       fmt::format("{} (self-attention)", FormatBytes(info.self_bytes_per_token)));
  Line(out, "a page",
       fmt::format("{}: {} new tokens, or {} source tokens", FormatBytes(info.page_bytes),
                   info.self_slots, info.cross_slots));
  Line(out, "pages for load",
       fmt::format("{}: {} documents of {} tokens, {} new tokens each", FormatBytes(pages),
                   load.documents, load.source_tokens, load.new_tokens));
  Line(out, "with weights", FormatBytes(pages + info.weight_bytes));
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
  AddMemory(inspection, load, out);
  for (const std::string& key : inspection.info.defaults.unsupported) {
    Line(out, "not honoured", key);
  }
  return out;
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace precis::cli
