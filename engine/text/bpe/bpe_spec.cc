#include "engine/text/bpe/bpe_spec.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "engine/text/bpe/bpe_json.h"
#include "engine/text/bpe/bpe_merges.h"
#include "engine/text/bpe/byte_alphabet.h"
#include "engine/text/files/tokenizer_json_pipeline.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr std::string_view kVocabAndMerges = "vocab.json and merges.txt";

// What is read step by step, and the checks that need more than one part of it.
class SpecReader {
 public:
  SpecReader(const TokenizerFiles& files, uint32_t vocab_size)
      : files_(files),
        vocab_size_(vocab_size),
        from_json_(files.tokenizer.is_object()),
        rebuilt_(RebuildsBpe(files)) {}

  StatusOr<BpeSpec> Read();

 private:
  StatusOr<BpePipeline> ReadPipeline() const;
  Status CheckClass() const;
  StatusOr<bool> AddsPrefixSpace(const BpePipeline& pipeline) const;
  StatusOr<SourceTokens> AroundSource(const BpePipeline& pipeline) const;
  StatusOr<NamedId> FindNamed(const char* key, std::string_view absent) const;
  StatusOr<int32_t> CheckAround(const NamedId& token) const;
  Status CheckFits() const;
  Status CheckBytes() const;
  Status NumberAdded();
  std::vector<uint32_t> SpecialIds() const;
  std::optional<uint64_t> IdOf(std::string_view text) const;
  const json& Model() const { return JsonMember(files_.tokenizer, "model"); }
  // The file that has the vocabulary.
  std::string_view VocabularyFile() const { return from_json_ ? kTokenizerJsonFile : kVocabFile; }

  const TokenizerFiles& files_;
  const uint32_t vocab_size_;
  const bool from_json_;
  const bool rebuilt_;
  std::vector<AddedToken> added_;                           // by id
  std::map<std::string, uint64_t, std::less<>> added_ids_;  // as transformers numbers them
  std::set<std::string> special_;
  std::optional<BpeVocabulary> vocabulary_;
};

Status SpecReader::CheckClass() const {
  if (from_json_ || IsBpeClass(files_)) return OkStatus();
  const std::string name = JsonString(files_.config, "tokenizer_class");
  if (name.empty()) return OkStatus();
  return InvalidArgument(fmt::format(
      "{}: tokenizer_class {} is not supported with {}; BartTokenizer is, where the files are "
      "BART's",
      kTokenizerConfigFile, JsonQuote(name), kVocabAndMerges));
}

StatusOr<BpePipeline> SpecReader::ReadPipeline() const {
  if (!from_json_) return BpePipeline();
  auto pipeline = ParseBpePipeline(files_.tokenizer, rebuilt_);
  if (!pipeline.ok()) return Annotate(pipeline.status(), kTokenizerJsonFile);
  return pipeline;
}

StatusOr<bool> SpecReader::AddsPrefixSpace(const BpePipeline& pipeline) const {
  const bool in_config = JsonBool(files_.config, "add_prefix_space", false);
  if (rebuilt_) return in_config;
  const bool says = JsonMember(files_.config, "add_prefix_space").is_boolean();
  if (!says || in_config == pipeline.add_prefix_space) return pipeline.add_prefix_space;
  // transformers 5 follows the one, transformers 4 the other.
  return InvalidArgument(
      fmt::format("{}: pre_tokenizer has add_prefix_space {}, but {} says {}; make them equal",
                  kTokenizerJsonFile, pipeline.add_prefix_space, kTokenizerConfigFile, in_config));
}

std::optional<uint64_t> SpecReader::IdOf(std::string_view text) const {
  if (const auto id = vocabulary_->Find(text)) return *id;
  const auto added = added_ids_.find(text);
  return added == added_ids_.end() ? std::nullopt : std::optional(added->second);
}

StatusOr<NamedId> SpecReader::FindNamed(const char* key, std::string_view absent) const {
  const std::string text = NamedToken(files_, key, absent);
  const std::optional<uint64_t> id = IdOf(text);
  if (id) return NamedId{text, *id};
  return InvalidArgument(fmt::format("{}: no piece is {}, the {}, which stands around every source",
                                     VocabularyFile(), JsonQuote(text), key));
}

StatusOr<SourceTokens> SpecReader::AroundSource(const BpePipeline& pipeline) const {
  if (!rebuilt_) {
    if (pipeline.around) return *pipeline.around;
    return InvalidArgument(fmt::format(
        "{}: post_processor puts no token behind a source, and every source must end with one",
        kTokenizerJsonFile));
  }
  SourceTokens out;
  PRECIS_ASSIGN_OR_RETURN(out.before, FindNamed("cls_token", "<s>"));
  PRECIS_ASSIGN_OR_RETURN(out.after, FindNamed("sep_token", "</s>"));
  if (!pipeline.around || *pipeline.around == out) return out;
  return InvalidArgument(fmt::format(
      "{}: post_processor does not put {} ({}) and {} ({}) around a source, the cls_token and "
      "sep_token of {}",
      kTokenizerJsonFile, JsonQuote(out.before->text), out.before->id, JsonQuote(out.after.text),
      out.after.id, kTokenizerConfigFile));
}

StatusOr<int32_t> SpecReader::CheckAround(const NamedId& token) const {
  const auto refuse = [&](std::string_view why) {
    return InvalidArgument(fmt::format("{}: {}, which stands around every source, {}",
                                       VocabularyFile(), JsonQuote(token.text), why));
  };
  if (IdOf(token.text) != token.id) {
    return refuse(fmt::format("has not the id {} in the vocabulary", token.id));
  }
  if (token.id >= vocab_size_) {
    return refuse(fmt::format("has id {}, the model's vocab_size is {}", token.id, vocab_size_));
  }
  return static_cast<int32_t>(token.id);
}

// Special tokens need not fit: bart-large-cnn has no row for its <mask>.
Status SpecReader::CheckFits() const {
  for (const auto& [piece, id] : vocabulary_->pieces()) {
    if (id < vocab_size_ || special_.contains(piece)) continue;
    return InvalidArgument(fmt::format("{}: the piece {} has id {}, the model's vocab_size is {}",
                                       VocabularyFile(), JsonQuote(piece), id, vocab_size_));
  }
  for (const AddedToken& token : added_) {
    if (token.special || token.id < vocab_size_) continue;
    return InvalidArgument(fmt::format("{}: added token {} has id {}, the model's vocab_size is {}",
                                       token.file, JsonQuote(token.content), token.id,
                                       vocab_size_));
  }
  return OkStatus();
}

Status SpecReader::CheckBytes() const {
  for (const std::string& character : ByteCharacters()) {
    if (!special_.contains(character)) continue;
    return InvalidArgument(
        fmt::format("{}: the special token {} is the piece of a byte, which text must not become",
                    VocabularyFile(), JsonQuote(character)));
  }
  return OkStatus();
}

// transformers numbers added tokens anew, in the order of their ids: a piece keeps its id, others
// get the next free one. Of a special one that is no piece it matters only where it stands around a
// source.
Status SpecReader::NumberAdded() {
  uint64_t next = vocabulary_->size();
  for (const AddedToken& token : added_) {
    const std::optional<uint32_t> piece = vocabulary_->Find(token.content);
    const uint64_t theirs = piece ? *piece : next;
    next = std::max(next, theirs + 1);
    added_ids_.emplace(token.content, theirs);
    if (token.id == theirs || (token.special && !piece)) continue;
    return InvalidArgument(fmt::format("{}: added token {} has id {}, but transformers gives it {}",
                                       token.file, JsonQuote(token.content), token.id, theirs));
  }
  return OkStatus();
}

std::vector<uint32_t> SpecReader::SpecialIds() const {
  std::vector<uint32_t> out;
  for (const std::string& text : special_) {
    const std::optional<uint64_t> id = IdOf(text);
    if (id) out.push_back(static_cast<uint32_t>(*id));
  }
  return out;
}

StatusOr<BpeSpec> SpecReader::Read() {
  PRECIS_RETURN_IF_ERROR(CheckClass());
  PRECIS_ASSIGN_OR_RETURN(const BpePipeline pipeline, ReadPipeline());
  PRECIS_ASSIGN_OR_RETURN(const bool prefix_space, AddsPrefixSpace(pipeline));
  PRECIS_ASSIGN_OR_RETURN(
      vocabulary_, BpeVocabulary::Create(from_json_ ? JsonMember(Model(), "vocab") : files_.vocab,
                                         from_json_ ? "tokenizer.json: model.vocab" : kVocabFile));
  PRECIS_ASSIGN_OR_RETURN(added_, ListAddedTokens(files_));
  special_ = NamedTokens(files_);
  for (const AddedToken& token : added_) {
    if (token.special) special_.insert(token.content);
  }
  PRECIS_RETURN_IF_ERROR(CheckFits());
  PRECIS_RETURN_IF_ERROR(CheckBytes());
  PRECIS_RETURN_IF_ERROR(NumberAdded());
  PRECIS_ASSIGN_OR_RETURN(const SourceTokens around, AroundSource(pipeline));
  std::vector<int32_t> before;
  if (around.before) {
    PRECIS_ASSIGN_OR_RETURN(before.emplace_back(), CheckAround(*around.before));
  }
  PRECIS_ASSIGN_OR_RETURN(const int32_t end_id, CheckAround(around.after));
  PRECIS_ASSIGN_OR_RETURN(
      MergeTable merges,
      from_json_ ? ParseMergesJson(JsonMember(Model(), "merges"), *vocabulary_, special_)
                 : ParseMergesText(files_.merges, *vocabulary_, special_));
  std::vector<uint32_t> special = SpecialIds();
  std::ranges::stable_sort(added_, std::greater<>(), &AddedToken::special);
  return BpeSpec{.vocabulary = *std::move(vocabulary_),
                 .merges = std::move(merges),
                 .added = std::move(added_),
                 .special = std::move(special),
                 .add_prefix_space = prefix_space,
                 .source_prefix = std::move(before),
                 .end_id = end_id,
                 .source = from_json_ ? kTokenizerJsonFile : kVocabAndMerges};
}

}  // namespace

StatusOr<BpeSpec> ReadBpeSpec(const TokenizerFiles& files, uint32_t vocab_size) {
  return SpecReader(files, vocab_size).Read();
}

}  // namespace precis
