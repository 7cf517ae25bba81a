#include "engine/text/bytes/byte_codec.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/files/tokenizer_json_pipeline.h"
#include "engine/text/unicode/utf8.h"
#include "engine/text/unigram/piece_trie.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr int32_t kEnd = 1;  // </s>
constexpr int32_t kFirstByte = 3;
constexpr int32_t kPieces = kFirstByte + 256;

// transformers lists an added token of one ASCII character with the id of its byte, which it is.
bool IsByteItself(const AddedToken& token) {
  return token.content.size() == 1 &&
         token.id == static_cast<uint32_t>(kFirstByte) + static_cast<uint8_t>(token.content[0]);
}

Status CheckServed(const AddedToken& token, uint32_t vocab_size) {
  const auto refuse = [&token](std::string_view why) {
    return InvalidArgument(
        fmt::format("{}: added token '{}' (id {}) {}", token.file, token.content, token.id, why));
  };
  if (token.id >= vocab_size) {
    return refuse(fmt::format("is beyond the model's vocab_size, {}", vocab_size));
  }
  if (token.id < static_cast<uint32_t>(kPieces)) return refuse("has the id of a byte");
  // transformers writes a byte as the character of its number, and would take it for the token.
  const size_t length = Utf8CharLength(token.content);
  const auto first = static_cast<uint8_t>(token.content[0]);
  if (length == token.content.size() && (length == 1 || (length == 2 && first <= 0xC3))) {
    return refuse("is not supported: it stands for a byte");
  }
  if (token.single_word || token.lstrip || token.rstrip) {
    return refuse("is not supported with single_word, lstrip or rstrip");
  }
  return OkStatus();
}

// The id of eos_token of tokenizer_config.json; </s> where it says nothing or no such token is
// added.
int32_t FindEnd(const TokenizerFiles& files, const std::vector<AddedToken>& added) {
  const nlohmann::json& said = JsonMember(files.config, "eos_token");
  const std::string end = said.is_string() ? said.get<std::string>() : JsonString(said, "content");
  const auto token = std::ranges::find(added, end, &AddedToken::content);
  return token == added.end() ? kEnd : static_cast<int32_t>(token->id);
}

}  // namespace

ByteCodec::ByteCodec(const std::vector<AddedToken>& added, int32_t end_id) : end_id_(end_id) {
  for (const AddedToken& token : added) {
    added_.emplace(static_cast<int32_t>(token.id), token.content);
  }
  std::vector<std::pair<std::string_view, uint32_t>> entries;
  for (const auto& [id, content] : added_) {
    entries.emplace_back(content, static_cast<uint32_t>(id));
  }
  trie_ = PieceTrie(std::move(entries));
}

StatusOr<ByteCodec> ByteCodec::Create(const TokenizerFiles& files, uint32_t vocab_size) {
  if (vocab_size < static_cast<uint32_t>(kPieces)) {
    return InvalidArgument(fmt::format("{}: {} needs {} ids, the model's vocab_size is {}",
                                       kTokenizerConfigFile, kByT5Class, kPieces, vocab_size));
  }
  PRECIS_ASSIGN_OR_RETURN(std::vector<AddedToken> added, ListAddedTokens(files));
  const int32_t end_id = FindEnd(files, added);
  if (static_cast<uint32_t>(end_id) >= vocab_size) {
    return InvalidArgument(fmt::format("{}: eos_token has id {}, the model's vocab_size is {}",
                                       kTokenizerConfigFile, end_id, vocab_size));
  }
  std::erase_if(added,
                [](const AddedToken& token) { return token.special || IsByteItself(token); });
  for (const AddedToken& token : added) PRECIS_RETURN_IF_ERROR(CheckServed(token, vocab_size));
  return ByteCodec(added, end_id);
}

StatusOr<std::vector<int32_t>> ByteCodec::Encode(std::string_view text) const {
  if (const auto offset = FindBrokenUtf8(text)) {
    return InvalidArgument(fmt::format("not UTF-8 at byte {}", *offset));
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  while (!text.empty()) {
    const PieceTrie::Match match = added_.empty() ? PieceTrie::Match{} : trie_.LongestPrefix(text);
    ids.push_back(match.length > 0 ? static_cast<int32_t>(match.value)
                                   : kFirstByte + static_cast<uint8_t>(text[0]));
    text.remove_prefix(std::max<size_t>(match.length, 1));
  }
  return ids;
}

void ByteCodec::DecodeNext(int32_t id, std::string* pending, std::string* out) const {
  if (id >= kFirstByte && id < kPieces) {
    pending->push_back(static_cast<char>(id - kFirstByte));
  } else if (const auto token = added_.find(id); token != added_.end()) {
    *pending += token->second;
  }
  TakeCharacters(/*all=*/false, /*for_broken=*/"", pending, out);
}

void ByteCodec::DecodeEnd(std::string* pending, std::string* out) {
  TakeCharacters(/*all=*/true, /*for_broken=*/"", pending, out);
}

uint32_t ByteCodec::num_pieces() { return kPieces; }

}  // namespace precis
