#include "engine/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "engine/model/checkpoint/directory_kind.h"
#include "engine/model/checkpoint/json_file.h"
#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/checkpoint/torch/torch_file.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

constexpr uint64_t kMaxIndexBytes = 64u << 20;
constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr uint64_t kCompareBytes = 1u << 20;

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// A shard is a file of the same directory, nothing else: an index must not make us open
// /etc/shadow.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name.front() != '.';
}

std::string FileName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void HashEntry(const TensorEntry& entry, ContentHash* hash) {
  hash->Update(fmt::format("{} {} {}\n", entry.name, entry.dtype_name, ShapeText(entry.shape)));
}

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& dir) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(dir));
  for (const WeightFile& kind : WeightFiles()) {  // the first one, as transformers has it
    const std::string path = fmt::format("{}/{}", dir, kind.name);
    if (!Exists(path)) continue;
    const OpenFile open = kind.is_torch ? OpenTorchFile : OpenSafetensors;
    PRECIS_RETURN_IF_ERROR(kind.is_index ? checkpoint->OpenShards(path, open)
                                         : checkpoint->OpenSingle(path, open));
    return checkpoint;
  }
  return NoWeightsIn(dir);
}

Status Checkpoint::OpenSingle(const std::string& path, OpenFile open) {
  PRECIS_ASSIGN_OR_RETURN(files_.emplace_back(), open(path));
  for (const TensorEntry& entry : files_.back()->tensors()) {
    tensors_.emplace(entry.name, Tensor{files_.back().get(), &entry});
  }
  return OkStatus();
}

Status Checkpoint::OpenShards(const std::string& index_path, OpenFile open) {
  PRECIS_ASSIGN_OR_RETURN(const JsonFile index, ReadJsonFile(index_path, kMaxIndexBytes));
  const auto map = index.root.find("weight_map");
  if (map == index.root.end() || !map->is_object()) {
    return InvalidArgument(fmt::format("{}: weight_map: is missing or no object", index_path));
  }
  index_ = index_path;
  std::map<std::string, TensorFile*> shards;
  for (const auto& [name, where] : map->items()) {
    const std::string file = where.is_string() ? where.get<std::string>() : "";
    if (!IsPlainFileName(file)) {
      return InvalidArgument(fmt::format("{}: {}: {} is no file name of this directory", index_path,
                                         Shown(name), ShownJson(where)));
    }
    TensorFile*& shard = shards[file];
    if (shard == nullptr) {
      auto opened = open(dir_ + "/" + file);
      if (!opened.ok()) return Annotate(opened.status(), index_path);
      shard = files_.emplace_back(std::move(opened).value()).get();
    }
    const TensorEntry* entry = shard->Find(name);
    if (entry == nullptr) {
      return InvalidArgument(fmt::format("{}: {}: is not in {}, where the index says it is",
                                         index_path, Shown(name), shard->path()));
    }
    tensors_.emplace(name, Tensor{shard, entry});
  }
  return OkStatus();
}

void Checkpoint::Rename(const std::function<std::string(std::string_view)>& renamed) {
  std::vector<std::pair<std::string, std::string>> changes;
  for (const auto& [name, tensor] : tensors_) {
    std::string to = renamed(name);
    if (!tensors_.contains(to)) changes.emplace_back(name, std::move(to));
  }
  for (auto& [from, to] : changes) {
    auto node = tensors_.extract(from);
    node.key() = std::move(to);
    tensors_.insert(std::move(node));
  }
}

const Checkpoint::Tensor* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

StatusOr<std::vector<int64_t>> Checkpoint::Shape(std::string_view name) const {
  const Tensor* tensor = Find(name);
  if (tensor == nullptr) return NotFound(fmt::format("{}: tensor is missing", Describe(name)));
  return tensor->entry->shape;
}

StatusOr<std::vector<float>> Checkpoint::Read(std::string_view name,
                                              std::span<const int64_t> expected_shape) {
  Tensor* tensor = const_cast<Tensor*>(Find(name));
  if (tensor == nullptr) return NotFound(fmt::format("{}: tensor is missing", Describe(name)));
  const TensorEntry& entry = *tensor->entry;
  if (!std::ranges::equal(entry.shape, expected_shape)) {
    return InvalidArgument(fmt::format("{}: shape {} in the file, {} expected", Describe(name),
                                       ShapeText(entry.shape), ShapeText(expected_shape)));
  }
  ContentHash hash;
  HashEntry(entry, &hash);
  PRECIS_ASSIGN_OR_RETURN(std::vector<float> values, tensor->file->Read(entry, &hash));
  tensor->hash = hash.Digest();
  tensor->hashed = tensor->read = true;
  return values;
}

StatusOr<const TensorEntry*> Checkpoint::Stored(std::string_view name) const {
  const Tensor* tensor = Find(name);
  if (tensor == nullptr) return NotFound(fmt::format("{}: tensor is missing", Describe(name)));
  return tensor->entry;
}

StatusOr<std::string> Checkpoint::FileOf(std::string_view name) const {
  const Tensor* tensor = Find(name);
  if (tensor == nullptr) return NotFound(fmt::format("{}: tensor is missing", Describe(name)));
  return FileName(tensor->file->path());
}

Status Checkpoint::ReadStored(std::string_view name, uint64_t offset,
                              std::span<std::byte> out) const {
  const Tensor* tensor = Find(name);
  if (tensor == nullptr) return NotFound(fmt::format("{}: tensor is missing", Describe(name)));
  return tensor->file->ReadStored(*tensor->entry, offset, out);
}

StatusOr<bool> Checkpoint::Same(std::string_view a, std::string_view b) const {
  PRECIS_ASSIGN_OR_RETURN(const TensorEntry* one, Stored(a));
  PRECIS_ASSIGN_OR_RETURN(const TensorEntry* other, Stored(b));
  if (one->dtype_name != other->dtype_name || one->shape != other->shape) return false;
  std::vector<std::byte> of_one(kCompareBytes), of_other(kCompareBytes);
  for (uint64_t at = 0; at < one->num_bytes(); at += kCompareBytes) {
    const size_t count = std::min<uint64_t>(kCompareBytes, one->num_bytes() - at);
    PRECIS_RETURN_IF_ERROR(ReadStored(a, at, std::span(of_one).first(count)));
    PRECIS_RETURN_IF_ERROR(ReadStored(b, at, std::span(of_other).first(count)));
    if (std::memcmp(of_one.data(), of_other.data(), count) != 0) return false;
  }
  return true;
}

std::string Checkpoint::Describe(std::string_view name) const {
  const Tensor* tensor = Find(name);
  if (tensor != nullptr) {
    return fmt::format("{}: {}", tensor->file->path(), Shown(tensor->entry->name));
  }
  return fmt::format("{}: {}", files_.size() == 1 ? files_[0]->path() : dir_, Shown(name));
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

std::vector<std::string> Checkpoint::UnreadNames() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (!tensor.read) names.push_back(name);
  }
  return names;
}

std::vector<std::string> Checkpoint::files() const {
  std::vector<std::string> names;
  if (!index_.empty()) names.push_back(FileName(index_));
  for (const auto& file : files_) names.push_back(FileName(file->path()));
  return names;
}

StatusOr<std::string> Checkpoint::Fingerprint() {
  ContentHash all;
  for (const char* name : {"config.json", "generation_config.json"}) {
    const std::string path = fmt::format("{}/{}", dir_, name);
    auto bytes = ReadSmallFile(path, kMaxConfigBytes);
    if (!bytes.ok() && bytes.status().code() != absl::StatusCode::kNotFound) return bytes.status();
    const std::string content = bytes.ok() ? *bytes : "absent";
    all.Update(fmt::format("{} {} {}\n", name, bytes.ok(), content.size()));
    all.Update(content);
  }
  for (auto& [name, tensor] : tensors_) {  // sorted by name, so shards do not matter
    if (!tensor.hashed) {
      ContentHash hash;
      HashEntry(*tensor.entry, &hash);
      PRECIS_RETURN_IF_ERROR(tensor.file->Hash(*tensor.entry, &hash));
      tensor.hash = hash.Digest();
      tensor.hashed = true;
    }
    all.Update(std::as_bytes(std::span(&tensor.hash, 1)));
  }
  return fmt::format("{:016x}", all.Digest());
}

}  // namespace precis
