#include "engine/model/checkpoint/directory_kind.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "engine/model/checkpoint/json_file.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr std::string_view kLfsFirstLine = "version https://git-lfs";
constexpr size_t kMostNamed = 3;
constexpr size_t kMostLooked = 10'000;  // entries of a directory

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool IsDirectory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string FirstBytes(const fs::path& path, size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

// Names in a directory, sorted; nullopt where it cannot be read.
std::optional<std::vector<std::string>> NamesIn(const fs::path& dir, std::error_code& error) {
  std::vector<std::string> names;
  fs::directory_iterator entries(dir, error);
  for (const fs::directory_iterator end; !error && entries != end; entries.increment(error)) {
    names.push_back(entries->path().filename().string());
    if (names.size() == kMostLooked) break;
  }
  if (error) return std::nullopt;
  std::ranges::sort(names);
  return names;
}

// "a, b, c and 4 more"
std::string Listed(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kMostNamed);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

bool IsHubName(std::string_view part) {
  return !part.empty() && part.front() != '.' && part.front() != '-' &&
         std::ranges::all_of(part, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

// "organisation/model", or a bare "model" of the hub's first days.
bool LooksLikeHubId(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return IsHubName(path);
  return IsHubName(path.substr(0, slash)) && IsHubName(path.substr(slash + 1));
}

Status Missing(const std::string& path) {
  if (path.find("://") != std::string::npos) {
    return NotFound(fmt::format(
        "{}: is an address; a directory of this machine is wanted: download the model first",
        path));
  }
  const fs::path parent = fs::path(path).parent_path();
  if (LooksLikeHubId(path) && !IsDirectory(parent)) {
    return NotFound(
        fmt::format("{0}: no such directory. If it is a model of the Hugging Face hub, download it "
                    "(hf download "
                    "{0} --local-dir {1}) and give that directory",
                    path, fs::path(path).filename().string()));
  }
  return NotFound(fmt::format("{}: no such directory", path));
}

struct Suffix {
  std::string_view end;
  std::string_view what;
};
constexpr Suffix kOtherWeights[] = {
    {".bin", "PyTorch weights"},
    {".pt", "PyTorch weights"},
    {".pth", "PyTorch weights"},
    {".ckpt", "PyTorch or TensorFlow weights"},
    {".h5", "TensorFlow weights"},
    {".msgpack", "Flax weights"},
    {".onnx", "an ONNX model"},
    {".ot", "weights for Rust"},
    {".tflite", "a TensorFlow Lite model"},
    {".gguf", "a GGUF file"},
    {".ggml", "a GGML file"},
};

const Suffix* OtherWeights(std::string_view name) {
  const auto found = std::ranges::find_if(
      kOtherWeights, [name](const Suffix& suffix) { return name.ends_with(suffix.end); });
  return found == std::end(kOtherWeights) ? nullptr : found;
}

constexpr std::string_view kOnlyDirectories =
    "only directories as transformers saves them, with safetensors or pytorch_model.bin, are read";

constexpr WeightFile kWeightFiles[] = {
    {"model.safetensors", false, false},
    {"model.safetensors.index.json", false, true},
    {"pytorch_model.bin", true, false},
    {"pytorch_model.bin.index.json", true, true},
};

bool IsTorchWeights(std::string_view name) {
  return name.starts_with("pytorch_model") && name.ends_with(".bin");
}

Status NotADirectory(const std::string& path) {
  const fs::path place(path);
  const std::string name = place.filename().string();
  const std::string start = FirstBytes(place, 4);
  if (start == "GGUF") {
    return FailedPrecondition(fmt::format("{}: is a GGUF file; {}: give the model it was made from",
                                          path, kOnlyDirectories));
  }
  if (name.ends_with(".safetensors") || name == "config.json" || IsTorchWeights(name)) {
    const std::string parent = place.has_parent_path() ? place.parent_path().string() : ".";
    return FailedPrecondition(fmt::format("{}: is a file; give its directory, {}", path, parent));
  }
  if (start.starts_with("\x1f\x8b") || name.ends_with(".zip") || name.ends_with(".tar")) {
    return FailedPrecondition(
        fmt::format("{}: is an archive; unpack it and give the directory", path));
  }
  if (const Suffix* other = OtherWeights(name)) {
    return FailedPrecondition(fmt::format("{}: is {}; {}", path, other->what, kOnlyDirectories));
  }
  return FailedPrecondition(fmt::format("{}: is a file, not the directory of a model", path));
}

// The hub's cache: models--org--name has refs, blobs, and snapshots of a directory a commit.
Status IsCacheFolder(const std::string& dir) {
  std::error_code error;
  const fs::path snapshots = fs::path(dir) / "snapshots";
  std::vector<std::string> commits = NamesIn(snapshots, error).value_or(std::vector<std::string>());
  std::string main = FirstBytes(fs::path(dir) / "refs" / "main", 64);
  while (!main.empty() && std::isspace(static_cast<unsigned char>(main.back())) != 0) {
    main.pop_back();
  }
  if (!IsHubName(main) || !IsDirectory(snapshots / main)) {
    main = commits.size() == 1 ? commits.front() : "";
  }
  const std::string what = dir + ": is a folder of the Hugging Face cache";
  if (!main.empty()) {
    return FailedPrecondition(
        fmt::format("{}; give its snapshot, {}", what, (snapshots / main).string()));
  }
  if (commits.empty()) {
    return FailedPrecondition(
        fmt::format("{}, but holds no snapshot: the download did not end", what));
  }
  return FailedPrecondition(fmt::format("{}; give one of its {} snapshots: {}/ with {}", what,
                                        commits.size(), snapshots.string(), Listed(commits)));
}

Status IsAdapter(const std::string& dir) {
  std::string base;
  const std::string path = dir + "/adapter_config.json";
  if (auto config = ReadJsonFile(path, kMaxConfigBytes); config.ok()) {
    const auto said = JsonKeys(path, "", config->root).Text("base_model_name_or_path");
    if (said.ok() && *said) base = fmt::format(" of {}", Shown(**said));
  }
  return FailedPrecondition(
      fmt::format("{}: is a PEFT adapter{}, which is not applied: merge it into its model "
                  "(merge_and_unload(), then save_pretrained()) and give that directory",
                  dir, base));
}

Status NoConfig(const std::string& dir, const std::vector<std::string>& names) {
  std::vector<std::string> inside;
  std::vector<std::string> cached;
  for (const std::string& name : names) {
    const fs::path below = fs::path(dir) / name;
    if (name.starts_with("models--")) cached.push_back(name);
    if (IsDirectory(below) && Exists(below / "config.json")) inside.push_back(name);
  }
  const std::string missing = dir + ": no config.json";
  if (!inside.empty()) {
    return NotFound(fmt::format("{} here, but in {}; give {}", missing, Listed(inside),
                                (fs::path(dir) / inside.front()).string()));
  }
  if (!cached.empty()) {
    return NotFound(
        fmt::format("{}: is the Hugging Face cache itself; give a snapshot in it: {}/snapshots/...",
                    dir, (fs::path(dir) / cached.front()).string()));
  }
  for (const std::string& name : names) {
    if (const Suffix* other = OtherWeights(name)) {
      return NotFound(
          fmt::format("{}; there is {}, {}; {}", missing, name, other->what, kOnlyDirectories));
    }
  }
  return NotFound(fmt::format("{}; {}. There is {}", missing, kOnlyDirectories, Listed(names)));
}

}  // namespace

std::span<const WeightFile> WeightFiles() { return kWeightFiles; }

Status NoWeightsIn(const std::string& dir) {
  std::error_code ignored;
  const auto names = NamesIn(dir, ignored).value_or(std::vector<std::string>());
  const std::string missing =
      dir + ": neither model.safetensors nor pytorch_model.bin, nor an index of either";
  for (const std::string& name : names) {
    const bool is_torch = IsTorchWeights(name);
    if (name.ends_with(".safetensors") || is_torch) {
      return NotFound(name.find("-of-") != std::string::npos
                          ? fmt::format("{}; there is {}: get the index as well", missing, name)
                          : fmt::format("{}; there is {}: if it has the whole model, name it {}",
                                        missing, name,
                                        is_torch ? "pytorch_model.bin" : "model.safetensors"));
    }
    if (const Suffix* other = OtherWeights(name)) {
      return NotFound(
          fmt::format("{}; there is {}, {}: load it in transformers and save it with "
                      "save_pretrained()",
                      missing, name, other->what));
    }
  }
  return NotFound(missing);
}

Status CheckRealFile(const std::string& path) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored) && !Exists(path)) {
    return NotFound(fmt::format(
        "{}: is a link to {}, which is missing: copy or mount what it leads to as well (a snapshot "
        "of the Hugging Face cache needs the folder blobs beside it; cp -L copies the files)",
        path, fs::read_symlink(path, ignored).string()));
  }
  if (FirstBytes(path, kLfsFirstLine.size()) != kLfsFirstLine) return OkStatus();
  return FailedPrecondition(fmt::format(
      "{}: is a git-LFS pointer, not the file itself: run 'git lfs pull' in the repository, or "
      "download the file",
      path));
}

Status CheckModelDirectory(const std::string& dir) {
  std::error_code error;
  const fs::file_status status = fs::status(dir, error);
  if (status.type() == fs::file_type::not_found) return Missing(dir);
  if (error) return FailedPrecondition(fmt::format("{}: {}", dir, error.message()));
  if (!fs::is_directory(status)) return NotADirectory(dir);
  const auto names = NamesIn(dir, error);
  if (!names) return FailedPrecondition(fmt::format("{}: {}", dir, error.message()));
  if (names->empty()) {
    return NotFound(fmt::format("{}: is empty: was the model copied, or the volume mounted?", dir));
  }
  const auto has = [&](std::string_view name) { return std::ranges::binary_search(*names, name); };
  if (has("adapter_config.json")) return IsAdapter(dir);
  if (!has("config.json")) {
    return has("snapshots") ? IsCacheFolder(dir) : NoConfig(dir, *names);
  }
  const auto is_there = [&](const WeightFile& kind) { return has(kind.name); };
  const auto weights = std::ranges::find_if(kWeightFiles, is_there);
  if (weights == std::end(kWeightFiles)) return NoWeightsIn(dir);
  for (const std::string& name : *names) {
    const bool is_weights =
        weights->is_torch ? IsTorchWeights(name) : name.ends_with(".safetensors");
    if (name.ends_with(".json") || name.ends_with(".model") || is_weights) {
      PRECIS_RETURN_IF_ERROR(CheckRealFile(dir + "/" + name));
    }
  }
  return OkStatus();
}

}  // namespace precis
