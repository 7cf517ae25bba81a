// Reads the tokenizer.json of Hugging Face tokenizers as the SentencePiece model it was made from.
#include <string>
#include <utility>

#include "engine/text/tokenizer_json_pipeline.h"
#include "engine/text/unigram_spec.h"
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
    spec->pieces.push_back({.text = entry[0].get<std::string>(), .score = entry[1].get<float>()});
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

// Special tokens become control pieces: a user's text never turns into one (docs/tokenizer.md).
Status ApplyAddedTokens(const json& added, UnigramSpec* spec) {
  for (const json& token : added) {
    const std::string content = JsonString(token, "content");
    const json& id_json = JsonMember(token, "id");
    if (content.empty() || !id_json.is_number_unsigned()) {
      return InvalidArgument("added_tokens has an entry without id or content");
    }
    const uint64_t id = id_json.get<uint64_t>();
    if (!JsonBool(token, "special", false)) {
      // Hugging Face cuts the text there, and starts each part with a new space: SentencePiece has
      // nothing like it.
      return InvalidArgument(
          fmt::format("added token '{}' is not special: not supported", content));
    }
    if (id >= spec->pieces.size())
      continue;  // an id without a piece: never made, decodes to nothing
    Piece& piece = spec->pieces[id];
    if (piece.text != content) {
      return InvalidArgument(fmt::format(
          "added token '{}' has id {}, which model.vocab gives to '{}'", content, id, piece.text));
    }
    if (piece.type != PieceType::kUnknown) piece.type = PieceType::kControl;
  }
  return OkStatus();
}

// The post-processor's </s> is a control piece even where added_tokens does not say so.
void HideEndOfSequence(UnigramSpec* spec) {
  for (Piece& piece : spec->pieces) {
    if (piece.text == "</s>") piece.type = PieceType::kControl;
  }
}

// Where text is split at spaces first, pieces with a space behind the first character cannot occur.
void HidePiecesAcrossSpaces(UnigramSpec* spec) {
  for (Piece& piece : spec->pieces) {
    if (piece.type == PieceType::kNormal && piece.text.find(kSpaceSymbol, 1) != std::string::npos) {
      piece.type = PieceType::kUnused;
    }
  }
}

}  // namespace

StatusOr<UnigramSpec> ParseTokenizerJson(std::string_view bytes) {
  const json root = json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return InvalidArgument("not a JSON object, or cut short");
  UnigramSpec spec;
  PRECIS_RETURN_IF_ERROR(ParseModel(JsonMember(root, "model"), &spec));
  PRECIS_ASSIGN_OR_RETURN(JsonPipeline pipeline, ParseJsonPipeline(root));
  spec.normalizer = std::move(pipeline.normalizer);
  PRECIS_RETURN_IF_ERROR(ApplyAddedTokens(JsonMember(root, "added_tokens"), &spec));
  HideEndOfSequence(&spec);
  if (pipeline.splits_at_spaces) HidePiecesAcrossSpaces(&spec);
  PRECIS_RETURN_IF_ERROR(ValidateUnigramSpec(spec));
  // Control pieces at the end (T5's <extra_id_N>) are like ids without a piece, and need not fit.
  while (spec.pieces.back().type == PieceType::kControl) spec.pieces.pop_back();
  return spec;
}

}  // namespace precis
