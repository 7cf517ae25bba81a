#include "cli/client/generation_flags.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <string_view>
#include <system_error>
#include <vector>

#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"

namespace precis::cli {
namespace {

using v1::GenerationOptions;
using Options = std::shared_ptr<GenerationOptions>;

constexpr std::string_view kOptions = "options.";
constexpr char kGroup[] = "Options of the summary (default: the checkpoint's)";

// "5,17": token ids, none for the empty text, or an error of the command line.
std::vector<uint32_t> ParseIds(const std::string& typed) {
  std::vector<uint32_t> ids;
  if (typed.empty()) return ids;
  const char* at = typed.data();
  const char* const end = at + typed.size();
  while (true) {
    uint32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next != end && *next != ',')) {
      throw CLI::ValidationError("'" + typed + "' is not a list of token ids, as 5,17");
    }
    ids.push_back(id);
    if (next == end) return ids;
    at = next + 1;
  }
}

// The field's flag, which calls `set` with the value typed.
template <typename T, typename Set>
CLI::Option* Add(CLI::App& app, const std::string& field, const std::string& help, Set set) {
  return app.add_option_function<T>(FlagOfField(field), set, help)->group(kGroup);
}

// A flag that takes one of the words of an enum.
template <typename Enum, typename Set>
void AddEnum(CLI::App& app, const std::string& field, const std::string& help,
             const std::map<std::string, Enum>& words, Set set) {
  Add<std::string>(app, field, help,
                   [words, set](const std::string& typed) { set(words.at(typed)); })
      ->check(CLI::IsMember(words))
      ->type_name("WORD");
}

void AddLengths(CLI::App& app, const Options& o) {
  Add<uint32_t>(app, "max_new_tokens", "Most tokens to generate",
                [o](uint32_t v) { o->set_max_new_tokens(v); });
  Add<uint32_t>(app, "min_new_tokens", "No end before this many tokens",
                [o](uint32_t v) { o->set_min_new_tokens(v); });
  Add<std::vector<std::string>>(
      app, "stop", "End before this text; may be given again",
      [o](const std::vector<std::string>& v) { o->mutable_stop()->Assign(v.begin(), v.end()); })
      ->allow_extra_args(false);
}

void AddBeams(CLI::App& app, const Options& o) {
  Add<uint32_t>(app, "num_beams", "Beams searched; 1: greedy, or sampling",
                [o](uint32_t v) { o->set_num_beams(v); });
  Add<uint32_t>(app, "num_return_sequences", "Summaries returned: best beams, or so many samples",
                [o](uint32_t v) { o->set_num_return_sequences(v); });
  Add<float>(app, "length_penalty", "Exponent of the length that divides a beam's score",
             [o](float v) { o->set_length_penalty(v); });
  AddEnum<v1::EarlyStopping>(app, "early_stopping", "When a beam search ends",
                             {{"false", v1::EARLY_STOPPING_FALSE},
                              {"true", v1::EARLY_STOPPING_TRUE},
                              {"never", v1::EARLY_STOPPING_NEVER}},
                             [o](v1::EarlyStopping v) { o->set_early_stopping(v); });
}

void AddPenalties(CLI::App& app, const Options& o) {
  Add<uint32_t>(app, "no_repeat_ngram_size", "No so many tokens in a row occur twice; 0: off",
                [o](uint32_t v) { o->set_no_repeat_ngram_size(v); });
  Add<float>(app, "repetition_penalty", "Divides the scores of tokens seen; 1: off",
             [o](float v) { o->set_repetition_penalty(v); });
}

void AddSampling(CLI::App& app, const Options& o) {
  Add<float>(app, "temperature", "0: take the best token, else sample",
             [o](float v) { o->set_temperature(v); });
  Add<uint32_t>(app, "top_k", "Sample among the best so many; 0: all",
                [o](uint32_t v) { o->set_top_k(v); });
  Add<float>(app, "top_p", "Sample among the fewest with this much probability; 1: all",
             [o](float v) { o->set_top_p(v); });
  Add<uint64_t>(app, "seed", "Seed of sampling; without it one is drawn and told",
                [o](uint64_t v) { o->set_seed(v); });
  Add<uint64_t>(app, "noise_seed", "Seed of attention variants that have noise (pgqa)",
                [o](uint64_t v) { o->set_noise_seed(v); });
}

void AddServing(CLI::App& app, const Options& o) {
  Add<std::string>(app, "prefix", "Text put before the document; empty: none",
                   [o](const std::string& v) { o->set_prefix(v); });
  AddEnum<v1::LongDocumentPolicy>(
      app, "long_document_policy",
      "A document that is too long is refused, cut, or read in windows",
      {{"refuse", v1::LONG_DOCUMENT_POLICY_REFUSE},
       {"truncate", v1::LONG_DOCUMENT_POLICY_TRUNCATE},
       {"windows", v1::LONG_DOCUMENT_POLICY_WINDOWS}},
      [o](v1::LongDocumentPolicy v) { o->set_long_document_policy(v); });
  AddEnum<v1::Priority>(
      app, "priority", "Who goes first when requests wait",
      {{"low", v1::PRIORITY_LOW}, {"normal", v1::PRIORITY_NORMAL}, {"high", v1::PRIORITY_HIGH}},
      [o](v1::Priority v) { o->set_priority(v); });
  AddEnum<v1::Drafting>(app, "drafting", "Tokens guessed several at a time; never changes a text",
                        {{"off", v1::DRAFTING_OFF}, {"prompt-lookup", v1::DRAFTING_PROMPT_LOOKUP}},
                        [o](v1::Drafting v) { o->set_drafting(v); });
}

void AddTokens(CLI::App& app, const Options& o) {
  Add<uint32_t>(app, "log_probabilities", "Tell probabilities, and of so many others a token",
                [o](uint32_t v) { o->set_log_probabilities(v); });
  Add<uint32_t>(app, "forced_bos_token_id", "First token, forced",
                [o](uint32_t v) { o->set_forced_bos_token_id(v); });
  Add<uint32_t>(app, "forced_eos_token_id", "Last token, forced at the limit",
                [o](uint32_t v) { o->set_forced_eos_token_id(v); });
  Add<std::string>(app, "suppressed_token_ids", "Never generate these: 5,17; empty: none",
                   [o](const std::string& typed) {
                     v1::TokenIds* const out = o->mutable_suppressed_token_ids();
                     for (uint32_t id : ParseIds(typed)) out->add_ids(id);
                   });
  Add<std::vector<std::string>>(app, "bad_words",
                                "Never generate this sequence of ids: 5,17; may be given again; "
                                "empty: none",
                                [o](const std::vector<std::string>& words) {
                                  v1::BadWords* const out = o->mutable_bad_words();
                                  for (const std::string& word : words) {
                                    if (word.empty()) continue;
                                    v1::TokenIds* const ids = out->add_words();
                                    for (uint32_t id : ParseIds(word)) ids->add_ids(id);
                                  }
                                })
      ->allow_extra_args(false);
}

}  // namespace

void AddGenerationFlags(CLI::App& command, std::shared_ptr<v1::GenerationOptions> options) {
  AddLengths(command, options);
  AddBeams(command, options);
  AddPenalties(command, options);
  AddSampling(command, options);
  AddServing(command, options);
  AddTokens(command, options);
}

std::string FlagOfField(const std::string& field) {
  const size_t begin = field.starts_with(kOptions) ? kOptions.size() : 0;
  std::string name = field.substr(begin, field.find_first_of(".[", begin) - begin);
  if (GenerationOptions::descriptor()->FindFieldByName(name) == nullptr) return "";
  if (name == "suppressed_token_ids") return "--suppress-tokens";
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

}  // namespace precis::cli
