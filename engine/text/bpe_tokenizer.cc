#include "engine/text/bpe_tokenizer.h"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe/bpe_codec.h"
#include "engine/text/bpe/bpe_spec.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(BpeSpec spec, AddedTokens added, uint32_t vocab_size)
      : added_(std::move(added)),
        source_prefix_(spec.source_prefix),
        end_id_(spec.end_id),
        source_(spec.source),
        codec_(std::move(spec), vocab_size) {}

  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    if (text.size() > UINT32_MAX) return InvalidArgument("has more than 4 GiB");
    if (const auto offset = FindBrokenUtf8(text)) {
      return InvalidArgument(fmt::format("not UTF-8 at byte {}", *offset));
    }
    std::vector<int32_t> ids;
    MergeTable::Scratch scratch;
    if (!added_.cut()) {
      codec_.Encode(text, &scratch, &ids);
      return ids;
    }
    for (const AddedTokens::Part& part : added_.Cut(text)) {
      if (part.id) {
        ids.push_back(*part.id);
        continue;
      }
      // Nothing maps characters here: the second cut is of the same text.
      for (const AddedTokens::Part& rest : added_.CutMapped(part.text)) {
        if (rest.id) {
          ids.push_back(*rest.id);
        } else {
          codec_.Encode(rest.text, &scratch, &ids);
        }
      }
    }
    return ids;
  }

  bool IsBlank(std::string_view text) const override { return IsOnlyWhitespace(text); }

  void DecodeNext(int32_t id, DecodeState* state, std::string* out) const override {
    codec_.DecodeNext(id, &state->pending_bytes, out);
  }
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    BpeCodec::DecodeEnd(&state->pending_bytes, out);
  }

  std::span<const int32_t> source_prefix() const override { return source_prefix_; }
  int32_t end_id() const override { return end_id_; }
  uint32_t num_pieces() const override { return static_cast<uint32_t>(codec_.num_pieces()); }
  std::string_view source() const override { return source_; }

 private:
  AddedTokens added_;
  const std::vector<int32_t> source_prefix_;
  const int32_t end_id_;
  const std::string_view source_;
  BpeCodec codec_;
};

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> LoadBpeTokenizer(const TokenizerFiles& files,
                                                      uint32_t vocab_size) {
  PRECIS_ASSIGN_OR_RETURN(BpeSpec spec, ReadBpeSpec(files, vocab_size));
  PRECIS_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::Create(spec.added, nullptr));
  return std::unique_ptr<Tokenizer>(
      std::make_unique<BpeTokenizer>(std::move(spec), std::move(added), vocab_size));
}

}  // namespace precis
