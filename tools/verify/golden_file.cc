#include "tools/verify/golden_file.h"

#include <algorithm>
#include <fstream>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using Json = nlohmann::json;

GoldenEncoder ParseEncoder(const Json& j) {
  GoldenEncoder out;
  for (const char* name : {"first", "middle", "last"}) {
    const Json& row = j.at(name);
    out.rows.push_back({row.at("position"), row.at("head8"), row.at("tail8")});
  }
  out.mean = j.at("mean");
  out.abs_mean = j.at("abs_mean");
  return out;
}

GoldenLogits ParseLogits(const Json& j) {
  GoldenLogits out;
  for (const auto& [position, row] : j.at("rows").items()) {
    out.rows.emplace_back(static_cast<uint32_t>(std::stoul(position)),
                          row.get<std::vector<float>>());
  }
  out.top_ids = j.at("top5_ids").get<std::vector<std::vector<int32_t>>>();
  out.top_values = j.at("top5_values").get<std::vector<std::vector<float>>>();
  return out;
}

// {"self 0": [[3, 5], ...], "cross 0": [[4, 4]], ...}
std::vector<GoldenSplits> ParseSplits(const Json& j) {
  std::vector<GoldenSplits> out;
  for (const auto& [name, positions] : j.items()) {
    const size_t space = name.find(' ');
    out.push_back({static_cast<uint32_t>(std::stoul(name.substr(space + 1))),
                   name.substr(0, space) == "cross",
                   positions.get<std::vector<std::vector<uint32_t>>>()});
  }
  return out;
}

EarlyStopping ParseEarlyStopping(const Json& value) {
  if (value.is_string()) return EarlyStopping::kNever;
  return value.get<bool>() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
}

// generate()'s options. max_length and min_length count the start token, the others do not.
GenerationOverrides ParseOptions(const Json& j, std::string* problem) {
  GenerationOverrides o;
  o.num_beams = 1;
  for (const auto& [key, value] : j.items()) {
    if (key == "max_new_tokens") {
      o.max_new_tokens = value.get<uint32_t>();
    } else if (key == "max_length") {
      o.max_new_tokens = value.get<uint32_t>() - 1;
    } else if (key == "min_new_tokens") {
      o.min_new_tokens = std::max(o.min_new_tokens.value_or(0), value.get<uint32_t>());
    } else if (key == "min_length") {
      const uint32_t n = std::max(value.get<uint32_t>(), 1u) - 1;
      o.min_new_tokens = std::max(o.min_new_tokens.value_or(0), n);
    } else if (key == "num_beams") {
      o.num_beams = value.get<uint32_t>();
    } else if (key == "num_return_sequences") {
      o.num_return_sequences = value.get<uint32_t>();
    } else if (key == "length_penalty") {
      o.length_penalty = value.get<float>();
    } else if (key == "early_stopping") {
      o.early_stopping = ParseEarlyStopping(value);
    } else if (key == "no_repeat_ngram_size") {
      o.no_repeat_ngram_size = value.get<uint32_t>();
    } else if (key == "repetition_penalty") {
      o.repetition_penalty = value.get<float>();
    } else if (key == "noise_seed") {
      o.noise_seed = value.get<uint64_t>();
    } else if (key == "forced_bos_token_id") {
      o.forced_bos_token_ids.emplace(1, value.get<uint32_t>());
    } else if (key == "forced_eos_token_id") {
      o.forced_eos_token_ids.emplace(1, value.get<uint32_t>());
    } else if (key == "suppress_tokens") {
      o.suppressed_token_ids = value.get<std::vector<uint32_t>>();
    } else if (key == "bad_words_ids") {
      o.bad_words = value.get<std::vector<std::vector<uint32_t>>>();
    } else {
      *problem = fmt::format("the option {} is not known", key);
    }
  }
  return o;
}

GoldenRun ParseRun(std::string name, const Json& options,
                   std::vector<std::vector<int32_t>> sequences) {
  GoldenRun run;
  run.name = std::move(name);
  run.options = ParseOptions(options, &run.problem);
  run.sequences = std::move(sequences);
  return run;
}

// Its scores are null where the files ask for no beams.
GoldenRun ParseDefaults(const Json& j) {
  GoldenRun run;
  run.name = "defaults";
  run.as_files_say = true;
  run.sequences = j.at("sequences").get<std::vector<std::vector<int32_t>>>();
  if (j.contains("scores") && j["scores"].is_array()) {
    run.scores = j["scores"].get<std::vector<double>>();
  }
  return run;
}

GoldenCase ParseCase(const Json& j) {
  GoldenCase c;
  c.name = j.at("name");
  if (j.contains("text") && j["text"].is_string()) c.text = j["text"].get<std::string>();
  if (j.contains("max_source_length") && j["max_source_length"].is_number()) {
    c.max_source_length = j["max_source_length"].get<uint32_t>();
  }
  c.input_ids = j.at("input_ids").get<std::vector<int32_t>>();
  if (j.contains("encoder_output")) c.encoder = ParseEncoder(j["encoder_output"]);
  if (j.contains("decoder_input_ids")) {
    c.decoder_input_ids = j["decoder_input_ids"].get<std::vector<int32_t>>();
  }
  if (j.contains("logits")) c.logits = ParseLogits(j["logits"]);
  if (j.contains("head_splits")) c.head_splits = ParseSplits(j["head_splits"]);
  if (j.contains("greedy_ids")) {
    c.runs.push_back(ParseRun("greedy", j.at("greedy_options"), {j["greedy_ids"]}));
  }
  for (const char* list : {"greedy_more", "beams"}) {
    if (!j.contains(list)) continue;
    for (size_t n = 0; n < j[list].size(); ++n) {
      const Json& more = j[list][n];
      std::vector<std::vector<int32_t>> sequences;
      if (more.contains("ids")) sequences.push_back(more["ids"]);
      if (more.contains("sequences")) sequences = more["sequences"];
      c.runs.push_back(
          ParseRun(fmt::format("{} {}", list, n), more.at("options"), std::move(sequences)));
      if (more.contains("scores")) c.runs.back().scores = more["scores"].get<std::vector<double>>();
    }
  }
  if (j.contains("defaults")) c.runs.push_back(ParseDefaults(j["defaults"]));
  return c;
}

void ParseBatch(const Json& j, std::vector<GoldenCase>* out) {
  for (size_t i = 0; i < j.at("input_ids").size(); ++i) {
    const auto ids = j["input_ids"][i].get<std::vector<int32_t>>();
    const auto mask = j.at("attention_mask")[i].get<std::vector<int>>();
    GoldenCase c;
    c.name = fmt::format("batched {}", j.at("cases")[i].get<std::string>());
    for (size_t k = 0; k < ids.size() && k < mask.size(); ++k) {
      if (mask[k] != 0) c.input_ids.push_back(ids[k]);
    }
    c.runs.push_back(ParseRun("greedy", j.at("greedy_options"), {j.at("greedy_ids")[i]}));
    out->push_back(std::move(c));
  }
}

}  // namespace

StatusOr<GoldenFile> LoadGolden(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return NotFound(fmt::format(
        "{}: there is no such file; python/recipes/golden.py makes one, with transformers", path));
  }
  GoldenFile out;
  std::string at = "the whole file";
  try {
    const Json j = Json::parse(in);
    for (const Json& c : j.at("cases")) {
      at = fmt::format("case {}", out.cases.size());
      out.cases.push_back(ParseCase(c));
    }
    at = "batches";
    if (j.contains("batches")) {
      for (const Json& b : j["batches"]) ParseBatch(b, &out.batched);
    }
  } catch (const std::exception& e) {  // of nlohmann-json and std::stoul
    return InvalidArgument(fmt::format("{}: {}: {}", path, at, e.what()));
  }
  return out;
}

}  // namespace precis
