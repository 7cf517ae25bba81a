// Reads the tokenizer.json of Hugging Face tokenizers as the SentencePiece model it was made from.
#include <string>
#include <utility>

#include "engine/text/files/tokenizer_files.h"
#include "engine/text/files/tokenizer_json_pipeline.h"
#include "engine/text/unigram/unigram_spec.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

Status ParseVocab(const json& model, UnigramSpec* spec) {
  const json& vocab = JsonMember(model, "vocab");
  if (!vocab.is_array()) return InvalidArgument("model.vocab is not a list");
  spec->pieces.reserve(vocab.size());
  for (const json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return InvalidArgument(
          fmt::format("model.vocab[{}] is not a piece and its score", spec->pieces.size()));
    }
    spec->pieces.push_back({.text = JsonVocabText(entry), .score = entry[1].get<float>()});
  }
  return OkStatus();
}

Status ParseModel(const json& model, UnigramSpec* spec) {
  const std::string type = JsonString(model, "type");
  if (type != "Unigram") {
    return InvalidArgument(
        fmt::format("the model type is {}; only Unigram is supported", type.empty() ? "?" : type));
  }
  PRECIS_RETURN_IF_ERROR(ParseVocab(model, spec));
  const json& unk = JsonMember(model, "unk_id");
  if (!unk.is_number_unsigned() || unk.get<uint64_t>() >= spec->pieces.size()) {
    return InvalidArgument("model.unk_id is not one of the pieces");
  }
  spec->pieces[unk.get<uint64_t>()].type = PieceType::kUnknown;
  spec->byte_fallback = JsonBool(model, "byte_fallback", false);
  for (Piece& piece : spec->pieces) {
    if (spec->byte_fallback && ByteOfPiece(piece.text) >= 0) piece.type = PieceType::kByte;
  }
  return OkStatus();
}

// Control pieces even where added_tokens does not say so: the post-processor's </s>, the padding,
// and the sentinels.
void HideControlPieces(UnigramSpec* spec) {
  for (Piece& piece : spec->pieces) {
    if (piece.text == "</s>" || piece.text == "<pad>" || IsSentinel(piece.text)) {
      piece.type = PieceType::kControl;
    }
  }
}

// Where text is split at spaces first, pieces with a space after the first character cannot occur.
void HidePiecesAcrossSpaces(UnigramSpec* spec) {
  for (Piece& piece : spec->pieces) {
    if (piece.type == PieceType::kNormal && piece.text.find(kSpaceSymbol, 1) != std::string::npos) {
      piece.type = PieceType::kUnused;
    }
  }
}

}  // namespace

StatusOr<UnigramSpec> ParseTokenizerJson(const json& root) {
  UnigramSpec spec;
  PRECIS_RETURN_IF_ERROR(ParseModel(JsonMember(root, "model"), &spec));
  PRECIS_ASSIGN_OR_RETURN(JsonPipeline pipeline, ParseJsonPipeline(root));
  spec.normalizer = std::move(pipeline.normalizer);
  HideControlPieces(&spec);
  if (pipeline.splits_at_spaces) HidePiecesAcrossSpaces(&spec);
  PRECIS_RETURN_IF_ERROR(ValidateUnigramSpec(spec));
  return spec;
}

Status CheckSameModel(const json& root, const UnigramSpec& spec) {
  UnigramSpec other;
  PRECIS_RETURN_IF_ERROR(ParseModel(JsonMember(root, "model"), &other));
  if (other.pieces.size() < spec.pieces.size()) {
    return InvalidArgument(fmt::format("has {} pieces, {} has {}", other.pieces.size(), kSpieceFile,
                                       spec.pieces.size()));
  }
  for (size_t id = 0; id < other.pieces.size(); ++id) {
    const Piece& theirs = other.pieces[id];
    if (id >= spec.pieces.size()) {
      if (IsSentinel(theirs.text)) continue;
      return InvalidArgument(
          fmt::format("piece {}, '{}', is not in {}", id, theirs.text, kSpieceFile));
    }
    const Piece& ours = spec.pieces[id];
    if (theirs.text == ours.text && theirs.score == ours.score) continue;
    return InvalidArgument(fmt::format("piece {} is '{}' ({}), in {} it is '{}' ({})", id,
                                       theirs.text, theirs.score, kSpieceFile, ours.text,
                                       ours.score));
  }
  PRECIS_ASSIGN_OR_RETURN(const std::string charsmap, ReadCharsmap(root));
  if (charsmap == spec.normalizer.charsmap) return OkStatus();
  return InvalidArgument(fmt::format("its precompiled_charsmap is not that of {}", kSpieceFile));
}

}  // namespace precis
