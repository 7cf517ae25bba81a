#include "engine/text/bpe/bpe_codec.h"

#include <algorithm>
#include <utility>

#include "engine/text/bpe/byte_alphabet.h"
#include "engine/text/unicode/utf8.h"

namespace precis {

BpeCodec::BpeCodec(BpeSpec spec, uint32_t vocab_size)
    : merges_(std::move(spec.merges)),
      add_prefix_space_(spec.add_prefix_space),
      num_pieces_(spec.vocabulary.size()) {
  const auto set = [this, vocab_size](uint32_t id, std::string bytes) {
    if (id >= vocab_size) return;
    if (bytes_.size() <= id) bytes_.resize(size_t{id} + 1);
    bytes_[id] = std::move(bytes);
  };
  for (const auto& [piece, id] : spec.vocabulary.pieces()) set(id, BytesOfPiece(piece));
  for (const AddedToken& token : spec.added) {
    if (!token.special) set(token.id, BytesOfPiece(token.content));
  }
  for (const uint32_t id : spec.special) set(id, {});
}

void BpeCodec::Encode(std::string_view part, MergeTable::Scratch* scratch,
                      std::vector<int32_t>* ids) const {
  std::string with_space;
  if (add_prefix_space_ && !part.empty() && !part.starts_with(' ')) {
    with_space.append(" ").append(part);
    part = with_space;
  }
  while (!part.empty()) {
    const size_t length = splitter_.FirstWord(part);
    merges_.Encode(part.substr(0, length), scratch, ids);
    part.remove_prefix(length);
  }
}

void BpeCodec::DecodeNext(int32_t id, std::string* pending, std::string* out) const {
  if (id < 0 || static_cast<size_t>(id) >= bytes_.size()) return;
  *pending += bytes_[static_cast<size_t>(id)];
  TakeCharactersAsPython(/*all=*/false, pending, out);
}

void BpeCodec::DecodeEnd(std::string* pending, std::string* out) {
  TakeCharactersAsPython(/*all=*/true, pending, out);
}

}  // namespace precis
