#include "engine/text/files/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "engine/text/files/tokenizer_json_pipeline.h"
#include "fmt/format.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxFileBytes = 256u << 20;  // mT5's, the largest known, has 16 MB in JSON

// Nothing if there is no such file. Errors name it.
StatusOr<std::optional<std::string>> ReadFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::optional<std::string>();
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return DataLoss(fmt::format("{}: cannot be read: {}", path, error.message()));
  if (size > kMaxFileBytes) {
    return InvalidArgument(
        fmt::format("{}: {} bytes, more than the {} of any tokenizer", path, size, kMaxFileBytes));
  }
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!in) return DataLoss(path + ": cannot be read to its end");
  return std::optional(std::move(bytes));
}

Status ReadJson(const std::string& path, json* out) {
  PRECIS_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, ReadFile(path));
  if (!bytes) return OkStatus();
  *out = json::parse(*bytes, nullptr, /*allow_exceptions=*/false);
  if (!out->is_object()) return InvalidArgument(path + ": not a JSON object, or cut short");
  return OkStatus();
}

// Old directories say the class of their tokenizer in config.json alone.
Status TakeClassOfModel(const std::string& path, json* config) {
  if (config->is_object() && config->contains("tokenizer_class")) return OkStatus();
  json model;
  PRECIS_RETURN_IF_ERROR(ReadJson(path, &model));
  if (model.is_object() && model.contains("tokenizer_class")) {
    (*config)["tokenizer_class"] = model["tokenizer_class"];
  }
  return OkStatus();
}

std::string ClassOf(const TokenizerFiles& files) {
  std::string name = JsonString(files.config, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

// The files of a BPE without tokenizer.json; nothing where there is neither of them.
Status ReadVocabAndMerges(const std::string& model_dir, TokenizerFiles* out) {
  PRECIS_RETURN_IF_ERROR(ReadJson(fmt::format("{}/{}", model_dir, kVocabFile), &out->vocab));
  PRECIS_ASSIGN_OR_RETURN(std::optional<std::string> merges,
                          ReadFile(fmt::format("{}/{}", model_dir, kMergesFile)));
  if (out->vocab.is_object() == merges.has_value()) {
    out->merges = std::move(merges).value_or("");
    return OkStatus();
  }
  return InvalidArgument(fmt::format("{}: {} is there, but no {} beside it", model_dir,
                                     merges ? kMergesFile : kVocabFile,
                                     merges ? kVocabFile : kMergesFile));
}

}  // namespace

bool IsBpeClass(const TokenizerFiles& files) {
  constexpr std::array<std::string_view, 5> kClasses = {
      "BartTokenizer", "RobertaTokenizer", "LongformerTokenizer", "LEDTokenizer", "MvpTokenizer"};
  return std::ranges::find(kClasses, ClassOf(files)) != kClasses.end();
}

bool IsBpe(const TokenizerFiles& files) {
  if (IsBpeClass(files)) return true;
  if (IsByteClass(files) || (files.has_spiece && IsT5Class(files))) return false;
  if (!files.tokenizer.is_object()) return files.vocab.is_object();
  const json& model = JsonMember(files.tokenizer, "model");
  // Old files have no type.
  return JsonString(model, "type") == "BPE" ||
         (!model.contains("type") && JsonMember(model, "merges").is_array());
}

bool RebuildsBpe(const TokenizerFiles& files) {
  const std::string name = ClassOf(files);
  return !files.tokenizer.is_object() || name.empty() || name == "RobertaTokenizer" ||
         name == "LEDTokenizer";
}

bool IsByteClass(const TokenizerFiles& files) {
  return JsonString(files.config, "tokenizer_class") == kByT5Class;
}

StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& model_dir) {
  const auto path = [&model_dir](std::string_view name) {
    return fmt::format("{}/{}", model_dir, name);
  };
  TokenizerFiles out;
  PRECIS_ASSIGN_OR_RETURN(std::optional<std::string> spiece, ReadFile(path(kSpieceFile)));
  out.has_spiece = spiece.has_value();
  if (spiece) out.spiece = *std::move(spiece);
  PRECIS_RETURN_IF_ERROR(ReadJson(path(kTokenizerJsonFile), &out.tokenizer));
  PRECIS_RETURN_IF_ERROR(ReadJson(path(kTokenizerConfigFile), &out.config));
  if (!out.has_spiece && out.tokenizer.is_null()) {
    PRECIS_RETURN_IF_ERROR(TakeClassOfModel(path("config.json"), &out.config));
  }
  if (out.tokenizer.is_null() && !IsByteClass(out) && (!out.has_spiece || IsBpeClass(out))) {
    PRECIS_RETURN_IF_ERROR(ReadVocabAndMerges(model_dir, &out));
    if (out.vocab.is_null()) {
      return NotFound(IsBpeClass(out)
                          ? fmt::format("{}: neither {} nor {} with {} is there, and {} needs them",
                                        model_dir, kTokenizerJsonFile, kVocabFile, kMergesFile,
                                        ClassOf(out))
                          : fmt::format("{}: neither {} nor {} is there, nor {} with {}", model_dir,
                                        kSpieceFile, kTokenizerJsonFile, kVocabFile, kMergesFile));
    }
  }
  PRECIS_RETURN_IF_ERROR(ReadJson(path("added_tokens.json"), &out.added_tokens));
  PRECIS_RETURN_IF_ERROR(ReadJson(path("special_tokens_map.json"), &out.special_tokens_map));
  return out;
}

}  // namespace precis
