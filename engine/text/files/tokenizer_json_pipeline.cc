#include "engine/text/files/tokenizer_json_pipeline.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "engine/text/unicode/utf8.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

const std::string kSpace(kSpaceSymbol);

// What the normalizers and pre-tokenizers said, before it is known whether it makes sense together.
struct Seen {
  std::string charsmap;
  bool strips_right = false;
  bool collapses = false;     // runs of spaces become one
  bool escapes = false;       // spaces become U+2581
  bool splits_words = false;  // WhitespaceSplit
  bool metaspace = false;
  bool prefix = false;
  bool splits_at_spaces = false;
};

Status Refuse(const char* part, const json& value) {
  // Never the whole value: a charsmap is long.
  const std::string type = JsonString(value, "type");
  return InvalidArgument(fmt::format("{} {} is not supported", part,
                                     type.empty() ? value.dump().substr(0, 80) : type));
}

void AppendSteps(const json& value, const char* members, int depth, std::vector<const json*>* out) {
  constexpr int kMaxDepth = 16;  // a deeper Sequence is a step by itself, which nobody knows
  if (JsonString(value, "type") != "Sequence" || depth == kMaxDepth) {
    out->push_back(&value);
    return;
  }
  for (const json& member : JsonMember(value, members)) {
    if (!member.is_null()) AppendSteps(member, members, depth + 1, out);
  }
}

Status ReadReplace(const json& step, Seen* seen) {
  const json& pattern = JsonMember(step, "pattern");
  const std::string content = JsonString(step, "content");
  const bool to_space = content == " " || content == kSpace;
  if (JsonString(pattern, "Regex") == " {2,}" && to_space) {
    seen->collapses = true;
  } else if (JsonString(pattern, "String") == " " && content == kSpace) {
    seen->escapes = true;
  } else {
    return InvalidArgument(
        fmt::format("normalizer Replace of {} is not supported", pattern.dump().substr(0, 80)));
  }
  return OkStatus();
}

StatusOr<std::string> Unescape(const json& precompiled) {
  std::string out;
  if (absl::Base64Unescape(JsonString(precompiled, "precompiled_charsmap"), &out)) return out;
  return InvalidArgument("normalizer Precompiled: precompiled_charsmap is not base64");
}

Status ReadNormalizer(const json& step, Seen* seen) {
  const std::string type = JsonString(step, "type");
  if (type == "Precompiled") {
    // Later, it would see spaces that other steps have rewritten already.
    if (!seen->charsmap.empty() || seen->collapses || seen->escapes || seen->strips_right) {
      return InvalidArgument("normalizer Precompiled is not the first of its sequence");
    }
    PRECIS_ASSIGN_OR_RETURN(seen->charsmap, Unescape(step));
    return OkStatus();
  }
  if (type == "Strip") {
    if (!JsonBool(step, "strip_right", false)) return Refuse("normalizer", step);
    seen->strips_right = true;
    return OkStatus();
  }
  if (type == "Replace") return ReadReplace(step, seen);
  if (type == "Prepend" && JsonString(step, "prepend") == kSpace) {
    seen->prefix = true;
    return OkStatus();
  }
  return Refuse("normalizer", step);
}

Status ReadPreTokenizer(const json& step, Seen* seen) {
  const std::string type = JsonString(step, "type");
  if (type == "WhitespaceSplit") {
    if (seen->metaspace) return InvalidArgument("pre_tokenizer WhitespaceSplit after Metaspace");
    seen->splits_words = true;
    return OkStatus();
  }
  if (type != "Metaspace" || seen->metaspace) return Refuse("pre_tokenizer", step);
  const std::string replacement = JsonString(step, "replacement");
  if (replacement != kSpace) {
    return InvalidArgument(fmt::format("Metaspace replacement '{}' is not U+2581", replacement));
  }
  // Files up to 2023 have add_prefix_space, later ones prepend_scheme.
  std::string scheme = JsonString(step, "prepend_scheme");
  if (scheme.empty()) scheme = JsonBool(step, "add_prefix_space", true) ? "always" : "never";
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return InvalidArgument(fmt::format("Metaspace prepend_scheme '{}' is not supported", scheme));
  }
  // After a split into words each word needs its own, or the spaces are lost.
  if (seen->splits_words && scheme != "always") {
    return InvalidArgument(fmt::format(
        "Metaspace prepend_scheme '{}' after WhitespaceSplit is not supported", scheme));
  }
  seen->metaspace = true;
  seen->prefix |= scheme != "never";
  seen->splits_at_spaces = JsonBool(step, "split", true);
  return OkStatus();
}

Status CheckDecoder(const json& decoder) {
  bool spaces = false;
  for (const json* step : JsonSteps(decoder, "decoders")) {
    const std::string type = JsonString(*step, "type");
    if (type == "Metaspace" && JsonString(*step, "replacement") == kSpace) {
      spaces = true;
    } else if (type == "Replace" && JsonString(JsonMember(*step, "pattern"), "String") == kSpace &&
               JsonString(*step, "content") == " ") {
      spaces = true;
    } else if (type == "Strip" && JsonString(*step, "content") == " ") {
      continue;  // the leading space, which we drop as well
    } else if (type != "ByteFallback" && type != "Fuse") {
      return Refuse("decoder", *step);
    }
  }
  return spaces ? OkStatus() : InvalidArgument("decoder has no Metaspace");
}

// The engine adds </s> itself; a tokenizer that adds something else is not served.
Status CheckPostProcessor(const json& post) {
  if (post.is_null()) return OkStatus();
  if (JsonString(post, "type") != "TemplateProcessing") return Refuse("post_processor", post);
  const json& single = JsonMember(post, "single");
  const bool fits = single.is_array() && single.size() == 2 && single[0].contains("Sequence") &&
                    JsonString(JsonMember(single[1], "SpecialToken"), "id") == "</s>";
  return fits ? OkStatus()
              : InvalidArgument(fmt::format("post_processor template {} is not text, then </s>",
                                            single.dump().substr(0, 120)));
}

StatusOr<JsonPipeline> Combine(Seen seen) {
  if (!seen.metaspace && !seen.escapes) return InvalidArgument("pre_tokenizer has no Metaspace");
  if (!seen.splits_words && seen.collapses != seen.strips_right) {
    return InvalidArgument(fmt::format("normalizer {} without {} is not supported",
                                       seen.collapses ? "Replace of ' {2,}'" : "Strip",
                                       seen.collapses ? "Strip" : "Replace of ' {2,}'"));
  }
  JsonPipeline out;
  // WhitespaceSplit cuts at any white space. The rules of T5Tokenizer's files make it spaces
  // already, but for U+0085, where we stay with SentencePiece (docs/tokenizer.md); without rules it
  // is on us.
  out.normalizer.any_whitespace = seen.splits_words && seen.charsmap.empty();
  out.normalizer.charsmap = std::move(seen.charsmap);
  out.normalizer.add_dummy_prefix = seen.prefix;
  out.normalizer.remove_extra_whitespaces = seen.splits_words || seen.collapses;
  out.splits_at_spaces = seen.splits_at_spaces || seen.splits_words;
  return out;
}

}  // namespace

const json& JsonMember(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string JsonString(const json& object, const char* key) {
  const json& member = JsonMember(object, key);
  return member.is_string() ? member.get<std::string>() : std::string();
}

std::vector<const json*> JsonSteps(const json& value, const char* members) {
  std::vector<const json*> out;
  if (!value.is_null()) AppendSteps(value, members, /*depth=*/0, &out);
  return out;
}

std::string JsonExcerpt(const json& value) {
  constexpr size_t kMaxBytes = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
  if (text.size() <= kMaxBytes) return text;
  size_t end = kMaxBytes;
  while (IsUtf8Continuation(text[end])) --end;
  text.resize(end);
  return text + "..";
}

std::string JsonQuote(std::string_view text) { return JsonExcerpt(text.substr(0, 200)); }

bool JsonBool(const json& object, const char* key, bool absent) {
  const json& member = JsonMember(object, key);
  return member.is_boolean() ? member.get<bool>() : absent;
}

std::string JsonVocabText(const json& entry) {
  return entry.is_array() && !entry.empty() && entry[0].is_string() ? entry[0].get<std::string>()
                                                                    : std::string();
}

StatusOr<std::string> ReadCharsmap(const json& root) {
  for (const json* step : JsonSteps(JsonMember(root, "normalizer"), "normalizers")) {
    if (JsonString(*step, "type") == "Precompiled") return Unescape(*step);
  }
  return std::string();
}

bool SplitsWords(const json& root) {
  const auto steps = JsonSteps(JsonMember(root, "pre_tokenizer"), "pretokenizers");
  return std::ranges::any_of(
      steps, [](const json* step) { return JsonString(*step, "type") == "WhitespaceSplit"; });
}

StatusOr<JsonPipeline> ParseJsonPipeline(const json& root) {
  Seen seen;
  for (const json* step : JsonSteps(JsonMember(root, "normalizer"), "normalizers")) {
    PRECIS_RETURN_IF_ERROR(ReadNormalizer(*step, &seen));
  }
  for (const json* step : JsonSteps(JsonMember(root, "pre_tokenizer"), "pretokenizers")) {
    PRECIS_RETURN_IF_ERROR(ReadPreTokenizer(*step, &seen));
  }
  PRECIS_RETURN_IF_ERROR(CheckDecoder(JsonMember(root, "decoder")));
  PRECIS_RETURN_IF_ERROR(CheckPostProcessor(JsonMember(root, "post_processor")));
  return Combine(std::move(seen));
}

}  // namespace precis
