// The parts of a tokenizer.json around its model: normalizer, pre-tokenizer, decoder and
// post-processor, understood as far as they say what SentencePiece's own rules say. Anything else
// is refused by name. Called by tokenizer_json.cc. Thread rule: functions of their arguments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/text/unigram/unigram_spec.h"
#include "nlohmann/json.hpp"

namespace precis {

struct JsonPipeline {
  NormalizerSpec normalizer;
  bool splits_at_spaces = false;  // no piece may have a space anywhere but in front
};

StatusOr<JsonPipeline> ParseJsonPipeline(const nlohmann::json& root);

// The rules of characters in it, decoded; empty where there are none.
StatusOr<std::string> ReadCharsmap(const nlohmann::json& root);
// Whether text is split at white space before anything else.
bool SplitsWords(const nlohmann::json& root);
// The text of an entry of model.vocab; empty if it is none.
std::string JsonVocabText(const nlohmann::json& entry);

// root[key], or null if it is not there.
const nlohmann::json& JsonMember(const nlohmann::json& object, const char* key);
// The string at object[key]; empty if there is none.
std::string JsonString(const nlohmann::json& object, const char* key);
bool JsonBool(const nlohmann::json& object, const char* key, bool absent);
// The members of a Sequence (in object["normalizers"], say), else the value itself; nothing for
// null.
std::vector<const nlohmann::json*> JsonSteps(const nlohmann::json& value, const char* members);
// The value in one line, its beginning if it is long: for errors.
std::string JsonExcerpt(const nlohmann::json& value);
// The same of a text, in quotes.
std::string JsonQuote(std::string_view text);

}  // namespace precis
