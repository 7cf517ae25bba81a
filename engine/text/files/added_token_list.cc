// What the files beside a model say of added tokens, and whether transformers would take it so.
#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/text/files/tokenizer_files.h"
#include "engine/text/files/tokenizer_json_pipeline.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr std::string_view kAddedFile = "added_tokens.json";
constexpr uint32_t kExtraIds = 100;  // sentinels, where tokenizer_config.json does not say

// A token is written as its text or as an object with its text.
std::string ContentOf(const json& token) {
  return token.is_string() ? token.get<std::string>() : JsonString(token, "content");
}

// Then it says what is special, and other files do not.
bool HasDecoder(const TokenizerFiles& files) {
  return JsonMember(files.config, "added_tokens_decoder").is_object();
}

}  // namespace

std::set<std::string> NamedTokens(const TokenizerFiles& files) {
  std::set<std::string> out = {"<pad>", "</s>", "<unk>"};
  if (IsBpe(files)) out.insert({"<s>", "<mask>"});
  const auto add_named = [&out](const json& object) {
    for (const auto& [key, value] : object.items()) {
      if (key.ends_with("_token")) out.insert(ContentOf(value));
    }
  };
  const auto add_list = [&out](const json& list) {
    if (!list.is_array()) return;
    for (const json& token : list) out.insert(ContentOf(token));
  };
  add_named(files.config);
  if (HasDecoder(files)) return out;
  add_named(files.special_tokens_map);
  add_list(JsonMember(files.config, "additional_special_tokens"));
  add_list(JsonMember(files.config, "extra_special_tokens"));
  add_list(JsonMember(files.special_tokens_map, "extra_special_tokens"));
  return out;
}

std::string NamedToken(const TokenizerFiles& files, const char* key, std::string_view absent) {
  for (const json* file :
       {HasDecoder(files) ? &files.config : &files.special_tokens_map, &files.config}) {
    const std::string content = ContentOf(JsonMember(*file, key));
    if (!content.empty()) return content;
  }
  return std::string(absent);
}

namespace {

StatusOr<AddedToken> ToAddedToken(const json& entry, uint64_t id, std::string_view file) {
  AddedToken out;
  out.content = ContentOf(entry);
  if (out.content.empty() || id > INT32_MAX) {
    return InvalidArgument(
        fmt::format("{}: an added token without content, or with id {} that is none", file, id));
  }
  out.id = static_cast<uint32_t>(id);
  out.special = JsonBool(entry, "special", false);
  out.normalized = JsonBool(entry, "normalized", !out.special);
  out.single_word = JsonBool(entry, "single_word", false);
  out.lstrip = JsonBool(entry, "lstrip", false);
  out.rstrip = JsonBool(entry, "rstrip", false);
  out.file = file;
  return out;
}

using TokensById = std::map<uint32_t, AddedToken>;

Status ReadDecoder(const json& decoder, TokensById* out) {
  for (const auto& [key, entry] : decoder.items()) {
    uint32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) {
      return InvalidArgument(
          fmt::format("{}: added_tokens_decoder: '{}' is not an id", kTokenizerConfigFile, key));
    }
    PRECIS_ASSIGN_OR_RETURN((*out)[id], ToAddedToken(entry, id, kTokenizerConfigFile));
  }
  return OkStatus();
}

Status ReadAddedFile(const json& added, TokensById* out) {
  if (!added.is_object()) return OkStatus();
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_unsigned()) {
      return InvalidArgument(fmt::format("{}: '{}' has no id", kAddedFile, content));
    }
    PRECIS_ASSIGN_OR_RETURN(AddedToken token,
                            ToAddedToken(content, id.get<uint64_t>(), kAddedFile));
    (*out)[token.id] = std::move(token);
  }
  return OkStatus();
}

Status ReadTokenizerJson(const json& tokenizer, TokensById* out) {
  for (const json& entry : JsonMember(tokenizer, "added_tokens")) {
    const json& id = JsonMember(entry, "id");
    if (!id.is_number_unsigned()) {
      return InvalidArgument(
          fmt::format("{}: added_tokens has an entry without id or content", kTokenizerJsonFile));
    }
    PRECIS_ASSIGN_OR_RETURN(AddedToken token,
                            ToAddedToken(entry, id.get<uint64_t>(), kTokenizerJsonFile));
    (*out)[token.id] = std::move(token);
  }
  return OkStatus();
}

bool SaysTheSame(const AddedToken& a, const AddedToken& b) {
  return a.content == b.content && a.special == b.special && a.normalized == b.normalized &&
         a.single_word == b.single_word && a.lstrip == b.lstrip && a.rstrip == b.rstrip;
}

// Which of the two counts depends on the class that reads them: they must say the same of tokens
// that cut text.
Status CheckAgreement(const TokensById& decoder, const TokensById& tokenizer) {
  for (const auto& [id, token] : tokenizer) {
    const auto it = decoder.find(id);
    const bool cuts = !token.special || (it != decoder.end() && !it->second.special);
    if (!cuts || (it != decoder.end() && SaysTheSame(token, it->second))) continue;
    return InvalidArgument(fmt::format(
        "{}: its added token '{}' (id {}) is not as the added_tokens_decoder of {} says",
        kTokenizerJsonFile, token.content, id, kTokenizerConfigFile));
  }
  return OkStatus();
}

Status CheckUnique(const std::vector<AddedToken>& tokens) {
  std::set<std::string_view> seen;
  for (const AddedToken& token : tokens) {
    if (seen.insert(token.content).second) continue;
    return InvalidArgument(
        fmt::format("{}: added token '{}' is there twice", token.file, token.content));
  }
  return OkStatus();
}

// The pieces of a model as transformers numbers them: by their texts, with sentinels after
// the pieces of a spiece.model.
class Numbers {
 public:
  Numbers(const TokenizerFiles& files, const UnigramSpec& spec,
          const std::vector<AddedToken>& tokens) {
    for (const AddedToken& token : tokens) ids_.emplace(token.content, std::nullopt);
    for (const Piece& piece : spec.pieces) Add(piece.text);
    if (files.tokenizer.is_object()) {
      const json& vocab = JsonMember(JsonMember(files.tokenizer, "model"), "vocab");
      while (next_ < vocab.size()) Add(JsonVocabText(vocab[next_]));
      return;
    }
    const json& said = JsonMember(files.config, "extra_ids");
    uint64_t count = said.is_number_unsigned() ? said.get<uint64_t>() : kExtraIds;
    for (count = std::min<uint64_t>(count, 1u << 20); count > 0; --count) {
      Add(fmt::format("<extra_id_{}>", count - 1));
    }
  }

  // Of the next token in the order of ids.
  uint32_t Next(const std::string& content) {
    const std::optional<uint32_t>& known = ids_.at(content);
    return known ? *known : next_++;
  }

 private:
  void Add(const std::string& text) {
    if (const auto it = ids_.find(text); it != ids_.end() && !it->second) it->second = next_;
    ++next_;
  }

  std::unordered_map<std::string, std::optional<uint32_t>> ids_;  // of added tokens' texts
  uint32_t next_ = 0;
};

Status CheckNumbers(const TokenizerFiles& files, const std::vector<AddedToken>& by_id,
                    const UnigramSpec& spec) {
  Numbers numbers(files, spec, by_id);
  for (const AddedToken& token : by_id) {
    const uint32_t theirs = numbers.Next(token.content);
    if (token.id < spec.pieces.size() && spec.pieces[token.id].text != token.content) {
      return InvalidArgument(
          fmt::format("{}: added token '{}' has id {}, which is that of the piece '{}'", token.file,
                      token.content, token.id, spec.pieces[token.id].text));
    }
    if (token.special || theirs == token.id) continue;
    return InvalidArgument(
        fmt::format("{}: added token '{}' has id {}, but transformers gives it {}", token.file,
                    token.content, token.id, theirs));
  }
  return OkStatus();
}

// transformers splits every part of a text at white space and begins each word with a space. Where
// the class is not T5Tokenizer, it does what tokenizer.json says.
Status CheckServed(const TokenizerFiles& files, const AddedToken& token,
                   const NormalizerSpec& rules) {
  const auto refuse = [&token](std::string_view why) {
    return InvalidArgument(fmt::format("{}: added token '{}' (id {}) is not supported {}",
                                       token.file, token.content, token.id, why));
  };
  if (!rules.add_dummy_prefix || !rules.remove_extra_whitespaces || !rules.escape_whitespaces ||
      rules.whitespace_as_suffix) {
    return refuse("with a model that keeps spaces as they are");
  }
  // As the first token of a text, transformers decodes it without any U+2581, else with spaces.
  if (token.content.find(kSpaceSymbol, 1) != std::string::npos) {
    return refuse("with U+2581 inside of it");
  }
  if (IsT5Class(files) || SplitsWords(files.tokenizer)) return OkStatus();
  return refuse(fmt::format("for tokenizer_class {} without pre_tokenizer WhitespaceSplit",
                            JsonString(files.config, "tokenizer_class")));
}

}  // namespace

bool IsT5Class(const TokenizerFiles& files) {
  std::string name = JsonString(files.config, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name.empty() || name == "T5Tokenizer" || name == "MT5Tokenizer";
}

StatusOr<std::vector<AddedToken>> ListAddedTokens(const TokenizerFiles& files) {
  TokensById tokens;
  const json& decoder = JsonMember(files.config, "added_tokens_decoder");
  const std::set<std::string> named = NamedTokens(files);
  if (decoder.is_object()) {
    TokensById others;
    PRECIS_RETURN_IF_ERROR(ReadDecoder(decoder, &tokens));
    PRECIS_RETURN_IF_ERROR(ReadTokenizerJson(files.tokenizer, &others));
    PRECIS_RETURN_IF_ERROR(CheckAgreement(tokens, others));
  } else {
    PRECIS_RETURN_IF_ERROR(ReadAddedFile(files.added_tokens, &tokens));
    PRECIS_RETURN_IF_ERROR(ReadTokenizerJson(files.tokenizer, &tokens));
  }
  std::vector<AddedToken> out;
  const bool has_sentinels = !IsBpe(files);
  for (auto& [id, token] : tokens) {
    token.special = token.special || named.contains(token.content) ||
                    (has_sentinels && IsSentinel(token.content));
    out.push_back(std::move(token));
  }
  PRECIS_RETURN_IF_ERROR(CheckUnique(out));
  return out;
}

Status ApplyAddedTokens(const TokenizerFiles& files, std::vector<AddedToken> tokens,
                        UnigramSpec* spec) {
  PRECIS_RETURN_IF_ERROR(CheckNumbers(files, tokens, *spec));
  for (const AddedToken& token : tokens) {
    if (!token.special) {
      PRECIS_RETURN_IF_ERROR(CheckServed(files, token, spec->normalizer));
    } else if (token.id < spec->pieces.size()) {
      Piece& piece = spec->pieces[token.id];
      if (piece.type != PieceType::kUnknown) piece.type = PieceType::kControl;
    }
  }
  std::ranges::stable_sort(tokens, std::greater<>(), &AddedToken::special);
  spec->added = std::move(tokens);
  return OkStatus();
}

}  // namespace precis
