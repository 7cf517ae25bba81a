#include "engine/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "engine/text/added_tokens.h"
#include "engine/text/bpe_tokenizer.h"
#include "engine/text/bytes/byte_codec.h"
#include "engine/text/files/tokenizer_files.h"
#include "engine/text/unicode/utf8.h"
#include "engine/text/unigram/normalizer.h"
#include "engine/text/unigram/unigram.h"
#include "engine/text/unigram/unigram_spec.h"
#include "fmt/format.h"

namespace precis {
namespace {

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
  UnigramTokenizer(UnigramSpec spec, Normalizer normalizer, AddedTokens added,
                   std::string_view source, int32_t end_id)
      : spec_(std::move(spec)),
        normalizer_(std::move(normalizer)),
        added_(std::move(added)),
        unigram_(spec_),
        source_(source),
        end_id_(end_id) {
    surfaces_.reserve(spec_.pieces.size());
    for (const Piece& piece : spec_.pieces) surfaces_.push_back(SurfaceOf(piece));
    for (const AddedToken& token : spec_.added) AddSurface(token);
    spec_.normalizer.charsmap = {};  // the normalizer has its own copy
  }

  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    if (const auto offset = FindBrokenUtf8(text)) {
      return InvalidArgument(fmt::format("not UTF-8 at byte {}", *offset));
    }
    if (!added_.cut()) return unigram_.Encode(normalizer_.Normalize(text));
    std::vector<int32_t> ids;
    for (const AddedTokens::Part& part : added_.Cut(text)) {
      if (part.id) {
        ids.push_back(*part.id);
      } else if (added_.cut_mapped()) {
        AppendMapped(part.text, &ids);
      } else {
        Append(unigram_.Encode(normalizer_.Normalize(part.text)), &ids);
      }
    }
    return ids;
  }

  bool IsBlank(std::string_view text) const override { return normalizer_.IsBlank(text); }

  void DecodeNext(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    FlushBytes(/*all=*/true, state, out);
  }

  int32_t end_id() const override { return end_id_; }
  uint32_t num_pieces() const override { return static_cast<uint32_t>(spec_.pieces.size()); }
  std::string_view source() const override { return source_; }

 private:
  // What an id decodes to.
  struct Surface {
    std::string text;
    PieceType type = PieceType::kControl;
    bool begins_with_space = false;  // U+2581
  };

  Surface SurfaceOf(const Piece& piece) const {
    Surface out = {.text = {}, .type = piece.type, .begins_with_space = false};
    switch (piece.type) {
      case PieceType::kControl:
        break;
      case PieceType::kUnknown:
        out.text = spec_.unk_surface;
        break;
      case PieceType::kByte:
        out.text.push_back(static_cast<char>(ByteOfPiece(piece.text)));
        break;
      default:
        out.text = Unescape(piece.text);
        out.begins_with_space = piece.text.starts_with(kSpaceSymbol);
    }
    return out;
  }
  // Ids between pieces and added tokens decode to nothing.
  void AddSurface(const AddedToken& token) {
    if (token.special) return;
    surfaces_.resize(std::max<size_t>(surfaces_.size(), size_t{token.id} + 1));
    surfaces_[token.id] =
        SurfaceOf({.text = token.content, .score = 0, .type = PieceType::kUserDefined});
  }

  static void Append(const std::vector<int32_t>& more, std::vector<int32_t>* ids) {
    ids->insert(ids->end(), more.begin(), more.end());
  }
  void AppendMapped(std::string_view text, std::vector<int32_t>* ids) const {
    const std::string mapped = normalizer_.MapCharacters(text);
    for (const AddedTokens::Part& part : added_.CutMapped(mapped)) {
      if (part.id) {
        ids->push_back(*part.id);
      } else {
        Append(unigram_.Encode(normalizer_.NormalizeSpaces(part.text)), ids);
      }
    }
  }
  static void Write(std::string_view text, DecodeState* state, std::string* out) {
    out->append(text);
    state->any_text |= !text.empty();
  }
  static void FlushBytes(bool all, DecodeState* state, std::string* out);

  UnigramSpec spec_;
  Normalizer normalizer_;
  AddedTokens added_;
  Unigram unigram_;  // refers to spec_
  std::string_view source_;
  const int32_t end_id_;
  std::vector<Surface> surfaces_;  // by id
};

// Byte pieces: whole characters are written as they are, a byte that cannot be part of one as
// U+FFFD.
void UnigramTokenizer::FlushBytes(bool all, DecodeState* state, std::string* out) {
  std::string text;
  TakeCharacters(all, kReplacementCharacter, &state->pending_bytes, &text);
  Write(text, state, out);
}

void UnigramTokenizer::DecodeNext(int32_t id, DecodeState* state, std::string* out) const {
  static const Surface kNothing;
  const bool known = id >= 0 && static_cast<size_t>(id) < surfaces_.size();
  const Surface& surface = known ? surfaces_[static_cast<size_t>(id)] : kNothing;
  if (surface.type == PieceType::kByte) {
    state->pending_bytes += surface.text;
    FlushBytes(/*all=*/false, state, out);
    return;
  }
  FlushBytes(/*all=*/true, state, out);
  if (state->dropped_space || state->any_text) state->at_start = false;
  state->dropped_space = false;
  if (surface.type == PieceType::kControl) return;
  std::string_view text = surface.text;
  const NormalizerSpec& rules = spec_.normalizer;
  const bool drops = rules.add_dummy_prefix || rules.remove_extra_whitespaces;
  if (state->at_start && drops && surface.begins_with_space) {
    text.remove_prefix(1);
    // Where spaces were collapsed, all of them go at the start; else the dummy one alone.
    state->dropped_space = !rules.remove_extra_whitespaces;
  }
  Write(text, state, out);
}

class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(ByteCodec codec) : codec_(std::move(codec)) {}

  StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    return codec_.Encode(text);
  }
  bool IsBlank(std::string_view text) const override { return IsOnlyWhitespace(text); }
  void DecodeNext(int32_t id, DecodeState* state, std::string* out) const override {
    codec_.DecodeNext(id, &state->pending_bytes, out);
  }
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    ByteCodec::DecodeEnd(&state->pending_bytes, out);
  }
  int32_t end_id() const override { return codec_.end_id(); }
  uint32_t num_pieces() const override { return ByteCodec::num_pieces(); }
  std::string_view source() const override { return "bytes"; }

 private:
  ByteCodec codec_;
};

// Errors begin with the name of a file.
StatusOr<UnigramSpec> MakeSpec(const TokenizerFiles& files, std::string_view source) {
  const bool from_spiece = source == kSpieceFile;
  auto spec = from_spiece ? ParseSpieceModel(files.spiece) : ParseTokenizerJson(files.tokenizer);
  if (!spec.ok()) return Annotate(spec.status(), source);
  if (from_spiece && files.tokenizer.is_object()) {
    if (const Status same = CheckSameModel(files.tokenizer, *spec); !same.ok()) {
      return Annotate(same, kTokenizerJsonFile);
    }
  }
  PRECIS_ASSIGN_OR_RETURN(std::vector<AddedToken> added, ListAddedTokens(files));
  PRECIS_RETURN_IF_ERROR(ApplyAddedTokens(files, std::move(added), &*spec));
  if (from_spiece) return spec;
  // Control pieces at the end (<extra_id_N>) are like ids without a piece, and need not fit.
  while (spec->pieces.back().type == PieceType::kControl) spec->pieces.pop_back();
  return spec;
}

Status CheckFits(const UnigramSpec& spec, std::string_view source, uint32_t vocab_size) {
  if (spec.pieces.size() > vocab_size) {
    return InvalidArgument(fmt::format("{}: {} pieces do not fit the model's vocab_size of {}",
                                       source, spec.pieces.size(), vocab_size));
  }
  for (const AddedToken& token : spec.added) {
    if (token.special || token.id < vocab_size) continue;
    return InvalidArgument(
        fmt::format("{}: added token '{}' has id {}, the model's vocab_size is {}", token.file,
                    token.content, token.id, vocab_size));
  }
  return OkStatus();
}

// The token that transformers puts at the end of a text: eos_token of tokenizer_config.json, of
// which </s> is the default.
StatusOr<int32_t> FindEnd(const TokenizerFiles& files, const UnigramSpec& spec,
                          std::string_view source, uint32_t vocab_size) {
  std::string end = "</s>";
  if (files.config.is_object() && files.config.contains("eos_token")) {
    const nlohmann::json& said = files.config["eos_token"];
    const bool in_object = said.is_object() && said.contains("content");
    const nlohmann::json& content = in_object ? said["content"] : said;
    if (content.is_string()) end = content.get<std::string>();
  }
  const auto piece = std::ranges::find(spec.pieces, end, &Piece::text);
  if (piece != spec.pieces.end()) return static_cast<int32_t>(piece - spec.pieces.begin());
  const auto added = std::ranges::find(spec.added, end, &AddedToken::content);
  if (added != spec.added.end() && added->id < vocab_size) return static_cast<int32_t>(added->id);
  return InvalidArgument(
      fmt::format("{}: no piece is '{}', which closes every source", source, end));
}

StatusOr<std::unique_ptr<Tokenizer>> Build(const TokenizerFiles& files, uint32_t vocab_size) {
  if (IsByteClass(files)) {
    PRECIS_ASSIGN_OR_RETURN(ByteCodec codec, ByteCodec::Create(files, vocab_size));
    return std::unique_ptr<Tokenizer>(std::make_unique<ByteTokenizer>(std::move(codec)));
  }
  if (IsBpe(files)) return LoadBpeTokenizer(files, vocab_size);
  // Both say the same where both are read; another class than T5Tokenizer reads tokenizer.json
  // alone.
  const bool json_only = !files.has_spiece || (!IsT5Class(files) && files.tokenizer.is_object());
  const std::string_view source = json_only ? kTokenizerJsonFile : kSpieceFile;
  PRECIS_ASSIGN_OR_RETURN(UnigramSpec spec, MakeSpec(files, source));
  PRECIS_RETURN_IF_ERROR(CheckFits(spec, source, vocab_size));
  PRECIS_ASSIGN_OR_RETURN(const int32_t end_id, FindEnd(files, spec, source, vocab_size));
  auto normalizer = Normalizer::Create(spec);
  if (!normalizer.ok()) return Annotate(normalizer.status(), source);
  PRECIS_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::Create(spec.added, &*normalizer));
  return std::unique_ptr<Tokenizer>(std::make_unique<UnigramTokenizer>(
      std::move(spec), *std::move(normalizer), std::move(added), source, end_id));
}

}  // namespace

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  DecodeState state;
  std::string out;
  for (const int32_t id : ids) DecodeNext(id, &state, &out);
  DecodeEnd(&state, &out);
  return out;
}

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& model_dir,
                                                     uint32_t vocab_size) {
  PRECIS_ASSIGN_OR_RETURN(const TokenizerFiles files, ReadTokenizerFiles(model_dir));
  auto tokenizer = Build(files, vocab_size);
  if (tokenizer.ok()) return tokenizer;
  // "DIR/FILE: .."
  const Status& status = tokenizer.status();
  return CopyOf(status, status.code(),
                fmt::format("{}/{}", model_dir, std::string(status.message())));
}

}  // namespace precis
