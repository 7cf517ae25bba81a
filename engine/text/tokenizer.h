// Text to ids and back: a SentencePiece unigram model, from spiece.model or made in memory from
// tokenizer.json. Thread rule: const after Load; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

class Tokenizer {
 public:
  // Reads DIR/spiece.model, else DIR/tokenizer.json. `vocab_size` is the model's: pieces must fit
  // into it (the error names the file and both numbers).
  static StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& model_dir,
                                                   uint32_t vocab_size);
  virtual ~Tokenizer() = default;

  // Ids without </s>. INVALID_ARGUMENT for broken UTF-8, naming the byte offset.
  virtual StatusOr<std::vector<int32_t>> Encode(std::string_view text) const = 0;
  // Text of ids; control ids and ids without a piece decode to nothing.
  virtual std::string Decode(std::span<const int32_t> ids) const = 0;
  virtual uint32_t num_pieces() const = 0;
  virtual std::string_view source() const = 0;  // "spiece.model" or "tokenizer.json"
};

// Decodes a growing list of ids into deltas of whole UTF-8; the deltas joined equal
// Tokenizer::Decode of all ids, byte for byte.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  // Text that `id` makes certain; may be empty.
  std::string Push(int32_t id);
  // What was held back at the end.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t emitted_ = 0;  // bytes of Decode(ids_) given out so far
};

}  // namespace precis
