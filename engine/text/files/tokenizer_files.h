// The files of a directory that say what its tokenizer is, and what they say of added tokens, read
// as transformers 5 reads them (T5Tokenizer, ByT5Tokenizer, BartTokenizer).
// Called by the tokenizer's Load. Thread rule: functions of their arguments.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/text/unigram/unigram_spec.h"
#include "nlohmann/json.hpp"

namespace precis {

inline constexpr std::string_view kSpieceFile = "spiece.model";
inline constexpr std::string_view kTokenizerJsonFile = "tokenizer.json";
inline constexpr std::string_view kTokenizerConfigFile = "tokenizer_config.json";
inline constexpr std::string_view kVocabFile = "vocab.json";
inline constexpr std::string_view kMergesFile = "merges.txt";
inline constexpr std::string_view kByT5Class = "ByT5Tokenizer";

struct TokenizerFiles {
  std::string spiece;  // its bytes; empty where it is not there
  bool has_spiece = false;
  std::string merges;  // merges.txt; read with vocab.json, where there is no tokenizer.json
  // Objects; null where the file is not there.
  nlohmann::json vocab;               // vocab.json
  nlohmann::json tokenizer;           // tokenizer.json
  nlohmann::json config;              // tokenizer_config.json; with config.json's tokenizer_class
                                      // where nothing else says one
  nlohmann::json added_tokens;        // added_tokens.json
  nlohmann::json special_tokens_map;  // special_tokens_map.json
};

// Errors name the file. NOT_FOUND if there is no tokenizer at all.
StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& model_dir);

// The model of a tokenizer.json. What cannot be honoured is refused by name.
StatusOr<UnigramSpec> ParseTokenizerJson(const nlohmann::json& root);
// Whether a tokenizer.json has the pieces, scores and rules of characters of `spec`, which is
// spiece.model's; sentinels may follow.
Status CheckSameModel(const nlohmann::json& root, const UnigramSpec& spec);

// Whether transformers rebuilds the tokenizer from its pieces, as it does for T5Tokenizer;
// another class does what tokenizer.json says.
bool IsT5Class(const TokenizerFiles& files);

// Whether it is ByT5's, which has no file of pieces.
bool IsByteClass(const TokenizerFiles& files);

// Whether it is a byte-level BPE, as BART has it: by its class, by the model of its tokenizer.json,
// or because there is nothing but vocab.json and merges.txt.
bool IsBpe(const TokenizerFiles& files);
// Whether its class is one of BART's kind.
bool IsBpeClass(const TokenizerFiles& files);
// Whether transformers keeps only pieces and merges of a tokenizer.json and makes the rest anew
// from tokenizer_config.json: RobertaTokenizer does, which is the class where none is named. With
// another class (BartTokenizer is one) it takes tokenizer.json as it is.
bool RebuildsBpe(const TokenizerFiles& files);

// Texts that the files name as eos_token, sep_token, .., and those that the class itself names.
std::set<std::string> NamedTokens(const TokenizerFiles& files);
// The text that the files name as `key`, else `absent`.
std::string NamedToken(const TokenizerFiles& files, const char* key, std::string_view absent);

// Errors begin with the name of the file that is wrong. Ordered for UnigramSpec::added.
StatusOr<std::vector<AddedToken>> ListAddedTokens(const TokenizerFiles& files);

// Enters the added tokens into a spec that has the pieces of spiece.model or tokenizer.json.
// Special ones become control pieces. Refuses a token that transformers would give another id than
// the file says, and rules of spaces under which text cannot be cut as it does. Errors as above.
Status ApplyAddedTokens(const TokenizerFiles& files, std::vector<AddedToken> tokens,
                        UnigramSpec* spec);

}  // namespace precis
