#include "tests/engine/text/sentencepiece_oracle.h"

#include <sentencepiece_processor.h>

#include <stdexcept>

namespace precis {

SentencePieceOracle::SentencePieceOracle(const std::string& path)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  if (!processor_->Load(path).ok()) throw std::runtime_error(path);
}

SentencePieceOracle::~SentencePieceOracle() = default;

std::vector<int32_t> SentencePieceOracle::Encode(const std::string& text) const {
  std::vector<int> ids;
  if (!processor_->Encode(text, &ids).ok()) throw std::runtime_error(text);
  return {ids.begin(), ids.end()};
}

std::string SentencePieceOracle::Decode(const std::vector<int32_t>& ids) const {
  std::string text;
  if (!processor_->Decode(std::vector<int>(ids.begin(), ids.end()), &text).ok()) {
    throw std::runtime_error("Decode");
  }
  return text;
}

int32_t SentencePieceOracle::num_pieces() const { return processor_->GetPieceSize(); }
double SentencePieceOracle::Score(const std::vector<int32_t>& ids) const {
  double sum = 0;
  for (const int32_t id : ids) sum += processor_->GetScore(id);
  return sum;
}

std::string SentencePieceOracle::piece(int32_t id) const { return processor_->IdToPiece(id); }

}  // namespace precis
