#include "engine/model/config/model_name.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include "engine/model/checkpoint/json_file.h"

namespace precis {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr size_t kMostNameBytes = 128;
// A commit or a content hash has at least so many hex digits; 7 are a word now and then.
constexpr size_t kLeastHashDigits = 12;
constexpr std::string_view kCacheFolder = "models--";
constexpr std::string_view kNumbered = "checkpoint-";
// What directories are called that hold one model or another.
constexpr std::string_view kSaysNothing[] = {
    "artifact", "artifacts", "best",      "best_model", "checkpoint",   "checkpoints", "ckpt",
    "current",  "data",      "export",    "exported",   "final",        "final_model", "hf",
    "home",     "hub",       "last",      "latest",     "main",         "mnt",         "model",
    "models",   "new",       "opt",       "out",        "output",       "outputs",     "pretrained",
    "result",   "results",   "root",      "save",       "saved",        "saved_model", "snapshot",
    "srv",      "storage",   "tmp",       "trained",    "transformers", "volume",      "weights",
    "work",     "workspace", "snapshots", "safetensors"};

bool IsAllOf(std::string_view text, int (*is)(int)) {
  return std::ranges::all_of(text, [is](unsigned char c) { return is(c) != 0; });
}

bool IsNumber(std::string_view part) {
  if (part.starts_with(kNumbered)) part.remove_prefix(kNumbered.size());
  return !part.empty() && IsAllOf(part, std::isdigit);
}

bool SaysSomething(std::string_view part) {
  std::string lower(part);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower.empty() || lower == "." || lower == ".." || IsNumber(lower)) return false;
  if (lower.size() >= kLeastHashDigits && IsAllOf(lower, std::isxdigit)) return false;
  return std::ranges::find(kSaysNothing, lower) == std::end(kSaysNothing);
}

bool IsNameByte(unsigned char c) {
  return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
}

// What may go into a URL and a label: other bytes become '-'.
std::string Sanitised(std::string_view part) {
  std::string name(part.substr(0, kMostNameBytes));
  std::ranges::replace_if(
      name, [](unsigned char c) { return !IsNameByte(c); }, '-');
  return name;
}

std::string LastPart(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

// "org--name" of a cache folder's "models--org--name" gives "name".
std::string NameInCache(const fs::path& path) {
  if (path.parent_path().filename() != "snapshots") return "";
  const std::string folder = path.parent_path().parent_path().filename().string();
  if (!folder.starts_with(kCacheFolder)) return "";
  const std::string id = folder.substr(kCacheFolder.size());
  const size_t dashes = id.rfind("--");
  return dashes == std::string::npos ? id : id.substr(dashes + 2);
}

// "\040" for a blank, and so on: as the kernel writes paths.
std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view digits = text[i] == '\\' ? text.substr(i + 1, 3) : "";
    if (digits.size() == 3 && IsAllOf(digits, std::isdigit)) {
      out += static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + (digits[2] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool IsMountPoint(const std::string& path, const std::string& mountinfo) {
  std::ifstream file(mountinfo);
  for (std::string line; std::getline(file, line);) {  // "36 35 98:0 /root /mount options ..."
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 5; ++i) words >> word;
    if (words && Unescaped(word) == path) return true;
  }
  return false;
}

}  // namespace

std::string NameFrom(const NameSources& sources) {
  const fs::path path(sources.path);
  if (const std::string name = NameInCache(path); SaysSomething(name)) return Sanitised(name);
  const std::string own = path.filename().string();
  if (!sources.is_mount && SaysSomething(own)) return Sanitised(own);
  if (const std::string parent = path.parent_path().filename().string();
      !sources.is_mount && IsNumber(own) && SaysSomething(parent)) {
    return Sanitised(parent);
  }
  if (const std::string from = LastPart(sources.name_or_path); SaysSomething(from)) {
    return Sanitised(from);
  }
  return sources.model_type;
}

NameSources ReadNameSources(const std::string& model_dir, const std::string& mountinfo) {
  NameSources sources;
  std::error_code error;
  fs::path path = fs::weakly_canonical(model_dir, error);
  if (error) path = model_dir;
  if (path.filename().empty()) path = path.parent_path();
  sources.path = path.string();
  sources.is_mount = IsMountPoint(sources.path, mountinfo);
  const std::string config = model_dir + "/config.json";
  if (const auto file = ReadJsonFile(config, kMaxConfigBytes); file.ok()) {
    const JsonKeys keys(config, "", file->root);
    const auto from = keys.Text("_name_or_path");
    if (from.ok()) sources.name_or_path = from->value_or("");
    const auto type = keys.Text("model_type");
    if (type.ok()) sources.model_type = Sanitised(type->value_or(""));
  }
  if (sources.model_type.empty()) sources.model_type = "model";
  return sources;
}

}  // namespace precis
