#include "engine/text/bpe/bpe_vocabulary.h"

#include "engine/text/bpe/byte_alphabet.h"
#include "engine/text/files/tokenizer_json_pipeline.h"
#include "fmt/format.h"

namespace precis {

StatusOr<BpeVocabulary> BpeVocabulary::Create(const nlohmann::json& vocab, std::string_view where) {
  if (!vocab.is_object()) {
    return InvalidArgument(fmt::format("{}: not an object of pieces and their ids", where));
  }
  BpeVocabulary out;
  out.ids_.reserve(vocab.size());
  std::unordered_map<uint32_t, std::string_view> pieces;  // by id
  pieces.reserve(vocab.size());
  for (const auto& [piece, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return InvalidArgument(fmt::format("{}: the id of {} is {}, which is none", where,
                                         JsonQuote(piece), JsonExcerpt(id)));
    }
    const auto number = id.get<uint32_t>();
    const auto it = out.ids_.emplace(piece, number).first;
    const auto [other, is_new] = pieces.emplace(number, it->first);
    if (!is_new) {
      return InvalidArgument(fmt::format("{}: {} and {} have the same id, {}", where,
                                         JsonQuote(other->second), JsonQuote(it->first), number));
    }
  }
  PRECIS_RETURN_IF_ERROR(out.FindBytes(where));
  return out;
}

Status BpeVocabulary::FindBytes(std::string_view where) {
  for (size_t byte = 0; byte < piece_of_byte_.size(); ++byte) {
    const std::string& character = ByteCharacters()[byte];
    const std::optional<uint32_t> id = Find(character);
    if (!id) {
      return InvalidArgument(
          fmt::format("{}: no piece is {}, the character of the byte 0x{:02X} in GPT-2's alphabet",
                      where, JsonQuote(character), byte));
    }
    piece_of_byte_[byte] = *id;
  }
  return OkStatus();
}

std::optional<uint32_t> BpeVocabulary::Find(std::string_view piece) const {
  const auto it = ids_.find(piece);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace precis
