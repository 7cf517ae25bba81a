#include "engine/text/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "engine/text/normalizer.h"
#include "engine/text/unigram.h"
#include "engine/text/unigram_spec.h"
#include "engine/text/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kSpieceFile = "spiece.model";
constexpr std::string_view kJsonFile = "tokenizer.json";
constexpr uint64_t kMaxFileBytes = 256u << 20;  // mT5's, the largest known, has 16 MB in JSON

StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return NotFound(fmt::format("cannot be read: {}", error.message()));
  if (size > kMaxFileBytes) {
    return InvalidArgument(
        fmt::format("{} bytes, more than the {} of any tokenizer", size, kMaxFileBytes));
  }
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!in) return DataLoss("cannot be read to its end");
  return bytes;
}

// A piece as decoded text: its spaces are spaces.
std::string Unescape(std::string_view piece) {
  std::string out;
  while (!piece.empty()) {
    const size_t at = piece.find(kSpaceSymbol);
    out.append(piece.substr(0, at));
    if (at == std::string_view::npos) break;
    out.push_back(' ');
    piece.remove_prefix(at + kSpaceSymbol.size());
  }
  return out;
}

class UnigramTokenizer final : public Tokenizer {
 public:
  UnigramTokenizer(UnigramSpec spec, Normalizer normalizer, std::string_view source)
      : spec_(std::move(spec)),
        normalizer_(std::move(normalizer)),
        unigram_(spec_),
        source_(source) {
    surfaces_.reserve(spec_.pieces.size());
    for (const Piece& piece : spec_.pieces) surfaces_.push_back(SurfaceOf(piece));
    spec_.normalizer.charsmap = {};  // the normalizer has its own copy
  }

  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    if (const auto offset = FindBrokenUtf8(text)) {
      return InvalidArgument(fmt::format("not UTF-8 at byte {}", *offset));
    }
    return unigram_.Encode(normalizer_.Normalize(text));
  }

  std::string Decode(std::span<const int32_t> ids) const override {
    DecodeState state;
    std::string out;
    for (const int32_t id : ids) DecodeNext(id, &state, &out);
    DecodeEnd(&state, &out);
    return out;
  }

  void DecodeNext(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    FlushBytes(/*all=*/true, state, out);
  }

  uint32_t num_pieces() const override { return static_cast<uint32_t>(spec_.pieces.size()); }
  std::string_view source() const override { return source_; }

 private:
  std::string SurfaceOf(const Piece& piece) const {
    switch (piece.type) {
      case PieceType::kControl:
        return {};
      case PieceType::kUnknown:
        return spec_.unk_surface;
      case PieceType::kByte:
        return std::string(1, static_cast<char>(ByteOfPiece(piece.text)));
      default:
        return Unescape(piece.text);
    }
  }
  static void Write(std::string_view text, DecodeState* state, std::string* out) {
    out->append(text);
    state->any_text |= !text.empty();
  }
  static void FlushBytes(bool all, DecodeState* state, std::string* out);

  UnigramSpec spec_;
  Normalizer normalizer_;
  Unigram unigram_;  // refers to spec_
  std::string_view source_;
  std::vector<std::string> surfaces_;  // by id: what it decodes to
};

// Byte pieces: whole characters are written as they are, a byte that cannot be part of one as
// U+FFFD.
void UnigramTokenizer::FlushBytes(bool all, DecodeState* state, std::string* out) {
  std::string_view bytes = state->pending_bytes;
  while (!bytes.empty()) {
    const size_t length = Utf8CharLength(bytes);
    if (length == 0 && !all && IsUtf8CharPrefix(bytes)) break;
    Write(length > 0 ? bytes.substr(0, length) : kReplacementCharacter, state, out);
    bytes.remove_prefix(length > 0 ? length : 1);
  }
  state->pending_bytes.erase(0, state->pending_bytes.size() - bytes.size());
}

void UnigramTokenizer::DecodeNext(int32_t id, DecodeState* state, std::string* out) const {
  const bool known = id >= 0 && static_cast<size_t>(id) < surfaces_.size();
  const size_t index = known ? static_cast<size_t>(id) : 0;
  const PieceType type = known ? spec_.pieces[index].type : PieceType::kControl;
  if (type == PieceType::kByte) {
    state->pending_bytes += surfaces_[index];
    FlushBytes(/*all=*/false, state, out);
    return;
  }
  FlushBytes(/*all=*/true, state, out);
  if (state->dropped_space || state->any_text) state->at_start = false;
  state->dropped_space = false;
  if (type == PieceType::kControl) return;
  std::string_view surface = surfaces_[index];
  const NormalizerSpec& rules = spec_.normalizer;
  const bool drops = rules.add_dummy_prefix || rules.remove_extra_whitespaces;
  if (type != PieceType::kUnknown && state->at_start && drops &&
      spec_.pieces[index].text.starts_with(kSpaceSymbol)) {
    surface.remove_prefix(1);
    // Where spaces were collapsed, all of them go at the start; else the dummy one alone.
    state->dropped_space = !rules.remove_extra_whitespaces;
  }
  Write(surface, state, out);
}

StatusOr<std::unique_ptr<Tokenizer>> Build(const std::string& path, std::string_view source,
                                           uint32_t vocab_size) {
  PRECIS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  PRECIS_ASSIGN_OR_RETURN(UnigramSpec spec, source == kSpieceFile ? ParseSpieceModel(bytes)
                                                                  : ParseTokenizerJson(bytes));
  if (spec.pieces.size() > vocab_size) {
    return InvalidArgument(fmt::format("{} pieces do not fit the model's vocab_size of {}",
                                       spec.pieces.size(), vocab_size));
  }
  PRECIS_ASSIGN_OR_RETURN(Normalizer normalizer, Normalizer::Create(spec));
  return std::unique_ptr<Tokenizer>(
      std::make_unique<UnigramTokenizer>(std::move(spec), std::move(normalizer), source));
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& model_dir,
                                                     uint32_t vocab_size) {
  for (const std::string_view file : {kSpieceFile, kJsonFile}) {
    const std::string path = fmt::format("{}/{}", model_dir, file);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) continue;
    auto tokenizer = Build(path, file, vocab_size);
    if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
    return tokenizer;
  }
  return NotFound(fmt::format("{}: neither {} nor {} is there", model_dir, kSpieceFile, kJsonFile));
}

}  // namespace precis
