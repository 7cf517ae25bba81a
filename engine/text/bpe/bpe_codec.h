// A byte-level BPE as BART has it: text is cut into words, a word's bytes are merged into pieces,
// and the bytes of pieces are text again. docs/tokenizer.md, "Byte-level BPE". Owner: the
// tokenizer. Thread rule: const after construction; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/bpe/bpe_spec.h"
#include "engine/text/bpe/merge_table.h"
#include "engine/text/bpe/word_splitter.h"

namespace precis {

class BpeCodec {
 public:
  // `vocab_size`: ids from there on decode to nothing, as special ones do.
  BpeCodec(BpeSpec spec, uint32_t vocab_size);

  // Appends the ids of a part of a text that holds no added token: UTF-8, of fewer than 2^32 bytes.
  // The scratch may come from another part.
  void Encode(std::string_view part, MergeTable::Scratch* scratch, std::vector<int32_t>* ids) const;
  // Appends to `out` the characters that `id` completes. `pending`: bytes that are no whole
  // character yet; those on both sides of an id without text may be one. What is none becomes
  // U+FFFD, one for what could have begun a character, as in Python's bytes.decode.
  void DecodeNext(int32_t id, std::string* pending, std::string* out) const;
  static void DecodeEnd(std::string* pending, std::string* out);

  size_t num_pieces() const { return num_pieces_; }

 private:
  MergeTable merges_;
  WordSplitter splitter_;
  const bool add_prefix_space_;
  const size_t num_pieces_;
  std::vector<std::string> bytes_;  // by id
};

}  // namespace precis
