#include "engine/text/files/tokenizer_files.h"

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
  if (error) return NotFound(fmt::format("{}: cannot be read: {}", path, error.message()));
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

}  // namespace

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
    if (!IsByteClass(out)) {
      return NotFound(fmt::format("{}: neither {} nor {} is there", model_dir, kSpieceFile,
                                  kTokenizerJsonFile));
    }
  }
  PRECIS_RETURN_IF_ERROR(ReadJson(path("added_tokens.json"), &out.added_tokens));
  PRECIS_RETURN_IF_ERROR(ReadJson(path("special_tokens_map.json"), &out.special_tokens_map));
  return out;
}

}  // namespace precis
