// Debian's libsentencepiece as the oracle of the tokenizer's tests. Its header declares an
// absl::string_view of its own, so that nothing of abseil may be included beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace precis {

class SentencePieceOracle {
 public:
  explicit SentencePieceOracle(const std::string& path);  // throws what cannot be loaded
  ~SentencePieceOracle();
  std::vector<int32_t> Encode(const std::string& text) const;
  std::string Decode(const std::vector<int32_t>& ids) const;
  int32_t num_pieces() const;
  std::string piece(int32_t id) const;
  // Sum of the pieces' scores.
  double Score(const std::vector<int32_t>& ids) const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace precis
