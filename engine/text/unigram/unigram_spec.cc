#include "engine/text/unigram/unigram_spec.h"

#include <bitset>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status CheckPiece(const Piece& piece, size_t id) {
  if (piece.text.empty()) return InvalidArgument(fmt::format("piece {} is empty", id));
  if (FindBrokenUtf8(piece.text)) {
    return InvalidArgument(fmt::format("piece {} is not UTF-8", id));
  }
  if (!std::isfinite(piece.score)) {
    return InvalidArgument(fmt::format("the score of piece {} is not finite", id));
  }
  if (piece.type == PieceType::kByte && ByteOfPiece(piece.text) < 0) {
    return InvalidArgument(
        fmt::format("piece {} is a byte piece but is not spelled like <0x0A>", id));
  }
  return OkStatus();
}

}  // namespace

int ByteOfPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const int high = HexDigit(piece[3]);
  const int low = HexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Status ValidateUnigramSpec(const UnigramSpec& spec) {
  if (spec.pieces.empty()) return InvalidArgument("there are no pieces");
  std::unordered_set<std::string_view> seen;
  seen.reserve(spec.pieces.size());
  std::bitset<256> bytes;
  size_t unknown = 0;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const Piece& piece = spec.pieces[id];
    PRECIS_RETURN_IF_ERROR(CheckPiece(piece, id));
    if (!seen.insert(piece.text).second) {
      return InvalidArgument(fmt::format("piece {} is there twice", id));
    }
    if (piece.type == PieceType::kUnknown) ++unknown;
    if (piece.type == PieceType::kByte) bytes.set(static_cast<size_t>(ByteOfPiece(piece.text)));
  }
  if (unknown != 1) {
    return InvalidArgument(fmt::format("there are {} unknown pieces, not one", unknown));
  }
  if (spec.byte_fallback ? !bytes.all() : bytes.any()) {
    return InvalidArgument(fmt::format("byte_fallback is {} but there are {} byte pieces",
                                       spec.byte_fallback, bytes.count()));
  }
  return OkStatus();
}

}  // namespace precis
