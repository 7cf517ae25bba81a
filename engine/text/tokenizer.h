// Text to ids and back: a SentencePiece unigram model, from spiece.model or made in memory from
// tokenizer.json, ByT5's bytes, or BART's byte-level BPE; and the tokens that were added to them.
// What it does, and where transformers does otherwise: docs/tokenizer.md. Thread rule: const after
// Load; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

// What decoding the next id needs to know of the ids before it.
struct DecodeState {
  bool any_text = false;       // something was written
  bool at_start = true;        // a leading space is not written
  bool dropped_space = false;  // the last id had its leading space dropped
  std::string pending_bytes;   // byte pieces that are not a whole character yet
};

class Tokenizer {
 public:
  // Reads DIR/spiece.model, else DIR/tokenizer.json, else DIR/vocab.json with merges.txt, and what
  // lies beside them of added tokens; of a model whose tokenizer is ByT5's, these alone.
  // `vocab_size` is the model's: pieces and added tokens must fit into it. Errors name the file.
  static StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& model_dir,
                                                   uint32_t vocab_size);
  virtual ~Tokenizer() = default;

  // Ids without source_prefix() and end_id(). INVALID_ARGUMENT for broken UTF-8, naming the byte
  // offset.
  virtual StatusOr<std::vector<int32_t>> Encode(std::string_view text) const = 0;
  // Whether there is nothing in the text but white space, whatever Encode makes of it.
  virtual bool IsBlank(std::string_view text) const = 0;
  // Text of ids; control ids and ids without a piece decode to nothing.
  virtual std::string Decode(std::span<const int32_t> ids) const;
  // Decode, an id at a time: appends to `out` what `id` makes certain, in whole UTF-8.
  virtual void DecodeNext(int32_t id, DecodeState* state, std::string* out) const = 0;
  // Appends what the last ids left open.
  virtual void DecodeEnd(DecodeState* state, std::string* out) const = 0;
  // The ids before every source: <s> of BART, none of T5.
  virtual std::span<const int32_t> source_prefix() const { return {}; }
  // The id of </s>, which closes every source. What ends a summary is the model's to say.
  virtual int32_t end_id() const = 0;
  virtual uint32_t num_pieces() const = 0;  // added tokens left out
  // "spiece.model", "tokenizer.json", "vocab.json and merges.txt" or "bytes".
  virtual std::string_view source() const = 0;
};

// Decodes a growing list of ids into deltas of whole UTF-8; the deltas joined equal
// Tokenizer::Decode of all ids, byte for byte.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  // Text that `id` makes certain; may be empty.
  std::string Push(int32_t id) {
    std::string out;
    tokenizer_.DecodeNext(id, &state_, &out);
    return out;
  }
  // What was held back at the end.
  std::string Finish() {
    std::string out;
    tokenizer_.DecodeEnd(&state_, &out);
    return out;
  }

 private:
  const Tokenizer& tokenizer_;
  DecodeState state_;
};

}  // namespace precis
