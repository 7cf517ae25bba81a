#include "engine/text/bpe/bpe_json.h"

#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/files/tokenizer_json_pipeline.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

Status Refuse(std::string_view part, const json& value) {
  const std::string type = JsonString(value, "type");
  return InvalidArgument(fmt::format("{} {} is not supported with model BPE", part,
                                     type.empty() ? JsonExcerpt(value) : JsonQuote(type)));
}

// unk_token may be there: every byte has a piece, so no text needs it.
Status CheckModel(const json& model) {
  const std::string type = JsonString(model, "type");
  if (!type.empty() && type != "BPE") {
    return InvalidArgument(
        fmt::format("model.type is {}; the files around it are those of BPE", JsonQuote(type)));
  }
  const json& dropout = JsonMember(model, "dropout");
  if (!dropout.is_null() && dropout != 0) return Refuse("model.dropout", dropout);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& affix = JsonMember(model, key);
    if (!affix.is_null() && affix != "") return Refuse(fmt::format("model.{}", key), affix);
  }
  for (const char* key : {"fuse_unk", "byte_fallback", "ignore_merges"}) {
    const json& flag = JsonMember(model, key);
    if (!flag.is_null() && flag != false) return Refuse(fmt::format("model.{}", key), flag);
  }
  return OkStatus();
}

StatusOr<bool> ReadPreTokenizer(const json& pre_tokenizer) {
  const std::vector<const json*> steps = JsonSteps(pre_tokenizer, "pretokenizers");
  for (const json* step : steps) {
    if (JsonString(*step, "type") != "ByteLevel") return Refuse("pre_tokenizer", *step);
  }
  if (steps.size() != 1) {
    return InvalidArgument(
        fmt::format("pre_tokenizer is not one ByteLevel, but {} of them", steps.size()));
  }
  if (!JsonBool(*steps[0], "use_regex", true)) {
    return InvalidArgument("pre_tokenizer ByteLevel with use_regex false is not supported");
  }
  return JsonBool(*steps[0], "add_prefix_space", true);
}

Status CheckDecoder(const json& decoder, bool rebuilt) {
  if (decoder.is_null() && rebuilt) return OkStatus();
  const std::vector<const json*> steps = JsonSteps(decoder, "decoders");
  if (steps.size() == 1 && JsonString(*steps[0], "type") == "ByteLevel") return OkStatus();
  return Refuse("decoder", decoder);
}

// RobertaProcessing writes a token ["</s>", 2].
StatusOr<NamedId> ReadPair(const json& post, const char* key) {
  const json& pair = JsonMember(post, key);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() ||
      !pair[1].is_number_unsigned()) {
    return InvalidArgument(
        fmt::format("post_processor RobertaProcessing: {} is {}, not a token "
                    "and its id",
                    key, JsonExcerpt(pair)));
  }
  return NamedId{pair[0].get<std::string>(), pair[1].get<uint64_t>()};
}

// TemplateProcessing names it, and lists its ids apart.
StatusOr<NamedId> ReadSpecial(const json& post, const json& step) {
  const std::string name = JsonString(JsonMember(step, "SpecialToken"), "id");
  const json& ids = JsonMember(JsonMember(JsonMember(post, "special_tokens"), name.c_str()), "ids");
  if (name.empty() || !ids.is_array() || ids.size() != 1 || !ids[0].is_number_unsigned()) {
    return InvalidArgument(
        fmt::format("post_processor TemplateProcessing: {} has not one id", JsonExcerpt(step)));
  }
  return NamedId{name, ids[0].get<uint64_t>()};
}

StatusOr<SourceTokens> ReadTemplate(const json& post) {
  const json& single = JsonMember(post, "single");
  const size_t size = single.is_array() ? single.size() : 0;
  if (size < 2 || size > 3 || !JsonMember(single[size - 2], "Sequence").is_object()) {
    return InvalidArgument(
        fmt::format("post_processor template {} is not text, then one token, "
                    "with one token before it or none",
                    JsonExcerpt(single)));
  }
  SourceTokens out;
  if (size == 3) {
    PRECIS_ASSIGN_OR_RETURN(out.before, ReadSpecial(post, single[0]));
  }
  PRECIS_ASSIGN_OR_RETURN(out.after, ReadSpecial(post, single[size - 1]));
  return out;
}

StatusOr<std::optional<SourceTokens>> ReadPostProcessor(const json& post_processor) {
  std::optional<SourceTokens> out;
  for (const json* step : JsonSteps(post_processor, "processors")) {
    const std::string type = JsonString(*step, "type");
    if (type == "ByteLevel") continue;  // it moves offsets alone
    if (out || (type != "RobertaProcessing" && type != "TemplateProcessing")) {
      return Refuse("post_processor", *step);
    }
    if (type == "TemplateProcessing") {
      PRECIS_ASSIGN_OR_RETURN(out, ReadTemplate(*step));
      continue;
    }
    out.emplace();
    PRECIS_ASSIGN_OR_RETURN(out->before, ReadPair(*step, "cls"));
    PRECIS_ASSIGN_OR_RETURN(out->after, ReadPair(*step, "sep"));
  }
  return out;
}

}  // namespace

StatusOr<BpePipeline> ParseBpePipeline(const json& root, bool rebuilt) {
  PRECIS_RETURN_IF_ERROR(CheckModel(JsonMember(root, "model")));
  const std::vector<const json*> normalizers =
      JsonSteps(JsonMember(root, "normalizer"), "normalizers");
  if (!normalizers.empty()) return Refuse("normalizer", *normalizers[0]);
  BpePipeline out;
  PRECIS_ASSIGN_OR_RETURN(out.add_prefix_space,
                          ReadPreTokenizer(JsonMember(root, "pre_tokenizer")));
  PRECIS_RETURN_IF_ERROR(CheckDecoder(JsonMember(root, "decoder"), rebuilt));
  PRECIS_ASSIGN_OR_RETURN(out.around, ReadPostProcessor(JsonMember(root, "post_processor")));
  return out;
}

}  // namespace precis
