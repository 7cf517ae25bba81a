// Reads a SentencePiece model file. It is a protocol buffer (field numbers:
// sentencepiece_model.proto) read here by hand: Debian's libsentencepiece exports a protobuf 3.14
// of its own and cannot live in one process with gRPC's 3.21; docs/tokenizer.md has the story.
#include <string_view>

#include "engine/text/unigram/unigram_spec.h"
#include "engine/text/unigram/wire_reader.h"
#include "fmt/format.h"

namespace precis {
namespace {

StatusOr<Piece> ParsePiece(std::string_view bytes) {
  Piece piece;
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        piece.text = reader.AsBytes();
        break;
      case 2:
        piece.score = reader.AsFloat();
        break;
      case 3: {
        const uint64_t type = reader.AsVarint();
        if (type < 1 || type > 6) return InvalidArgument(fmt::format("piece type {}", type));
        piece.type = static_cast<PieceType>(type);
        break;
      }
      default:
        break;
    }
  }
  PRECIS_RETURN_IF_ERROR(reader.status());
  return piece;
}

std::string_view ModelTypeName(uint64_t type) {
  constexpr std::string_view kNames[] = {"UNIGRAM", "BPE", "WORD", "CHAR"};
  return type >= 1 && type <= 4 ? kNames[type - 1] : "unknown";
}

Status ParseTrainerSpec(std::string_view bytes, UnigramSpec* spec) {
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 3:
        if (reader.AsVarint() != 1) {
          return InvalidArgument(fmt::format("the model type is {}; only UNIGRAM is supported",
                                             ModelTypeName(reader.AsVarint())));
        }
        break;
      case 24:
        spec->normalizer.whitespace_as_suffix = reader.AsVarint() != 0;
        break;
      case 35:
        spec->byte_fallback = reader.AsVarint() != 0;
        break;
      case 44:
        spec->unk_surface = reader.AsBytes();
        break;
      default:
        break;
    }
  }
  return reader.status();
}

Status ParseNormalizerSpec(std::string_view bytes, NormalizerSpec* spec) {
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 2:
        spec->charsmap = reader.AsBytes();
        break;
      case 3:
        spec->add_dummy_prefix = reader.AsVarint() != 0;
        break;
      case 4:
        spec->remove_extra_whitespaces = reader.AsVarint() != 0;
        break;
      case 5:
        spec->escape_whitespaces = reader.AsVarint() != 0;
        break;
      default:
        break;
    }
  }
  return reader.status();
}

Status RefuseDenormalizer(std::string_view bytes) {
  NormalizerSpec denormalizer;
  PRECIS_RETURN_IF_ERROR(ParseNormalizerSpec(bytes, &denormalizer));
  if (denormalizer.charsmap.empty()) return OkStatus();
  return InvalidArgument("a denormalizer (rules applied to decoded text) is not supported");
}

}  // namespace

StatusOr<UnigramSpec> ParseSpieceModel(std::string_view bytes) {
  UnigramSpec spec;
  WireReader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1: {
        PRECIS_ASSIGN_OR_RETURN(Piece piece, ParsePiece(reader.AsBytes()));
        spec.pieces.push_back(std::move(piece));
        break;
      }
      case 2:
        PRECIS_RETURN_IF_ERROR(ParseTrainerSpec(reader.AsBytes(), &spec));
        break;
      case 3:
        PRECIS_RETURN_IF_ERROR(ParseNormalizerSpec(reader.AsBytes(), &spec.normalizer));
        break;
      case 5:
        PRECIS_RETURN_IF_ERROR(RefuseDenormalizer(reader.AsBytes()));
        break;
      default:
        break;
    }
  }
  if (!reader.status().ok()) {
    return Annotate(reader.status(), "not a SentencePiece model, or cut short");
  }
  PRECIS_RETURN_IF_ERROR(ValidateUnigramSpec(spec));
  return spec;
}

}  // namespace precis
