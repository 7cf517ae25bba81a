// The pieces of a byte-level BPE and their ids, as vocab.json or model.vocab of tokenizer.json
// lists them. Owner: the reader of the files, then BpeCodec. Thread rule: const after Create; any
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/status.h"
#include "nlohmann/json.hpp"

namespace precis {

class BpeVocabulary {
 public:
  // Looked up by views of texts.
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Ids = std::unordered_map<std::string, uint32_t, TextHash, std::equal_to<>>;

  // `where` begins every error: "vocab.json". Refused: no object, an id that is none or is there
  // twice, a byte without a piece.
  static StatusOr<BpeVocabulary> Create(const nlohmann::json& vocab, std::string_view where);

  std::optional<uint32_t> Find(std::string_view piece) const;
  size_t size() const { return ids_.size(); }
  const Ids& pieces() const { return ids_; }
  const std::array<uint32_t, 256>& piece_of_byte() const { return piece_of_byte_; }

 private:
  BpeVocabulary() = default;
  Status FindBytes(std::string_view where);

  Ids ids_;
  std::array<uint32_t, 256> piece_of_byte_ = {};
};

}  // namespace precis
