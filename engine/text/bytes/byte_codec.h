// ByT5's tokens: an id is a byte of UTF-8, and there is no file of pieces. docs/tokenizer.md,
// "Bytes". Owner: the tokenizer. Thread rule: const after Create; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/text/files/tokenizer_files.h"
#include "engine/text/unigram/piece_trie.h"

namespace precis {

class ByteCodec {
 public:
  // Ids 0 to 2 are <pad>, </s> and <unk>, 3 to 258 the bytes; added tokens and sentinels follow.
  // Errors begin with the name of the file that is wrong: an added token that cannot be served,
  // more ids than `vocab_size`.
  static StatusOr<ByteCodec> Create(const TokenizerFiles& files, uint32_t vocab_size);

  // Ids without </s>. INVALID_ARGUMENT for broken UTF-8, naming the byte offset.
  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const;
  // Appends to `out` the characters that `id` completes. `pending`: bytes that are no whole
  // character yet; those on both sides of an id without text may be one. What is none is dropped.
  void DecodeNext(int32_t id, std::string* pending, std::string* out) const;
  static void DecodeEnd(std::string* pending, std::string* out);

  int32_t end_id() const { return end_id_; }
  static uint32_t num_pieces();

 private:
  // `added`: tokens that are not special.
  ByteCodec(const std::vector<AddedToken>& added, int32_t end_id);

  std::map<int32_t, std::string> added_;  // by id
  PieceTrie trie_;                        // of their texts; values: ids
  int32_t end_id_;
};

}  // namespace precis
