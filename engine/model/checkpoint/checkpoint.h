// The tensors of a checkpoint directory: model.safetensors or pytorch_model.bin, or the shards that
// an index names. Each is read with pread and handed over as checked f32; nothing is mapped,
// nothing kept.
//
// Owner: the weight loader, for the time of loading. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

class Checkpoint {
 public:
  static StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& dir);

  // From now on each tensor has the name that `renamed` gives for its own, unless another has it.
  void Rename(const std::function<std::string(std::string_view)>& renamed);

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  StatusOr<std::vector<int64_t>> Shape(std::string_view name) const;
  // All values, row-major. The error names file and tensor: missing, another shape, a type that is
  // not f32, bf16 or f16, a value that is not finite (with its index).
  StatusOr<std::vector<float>> Read(std::string_view name, std::span<const int64_t> expected_shape);
  StatusOr<std::vector<float>> Read(std::string_view name,
                                    std::initializer_list<int64_t> expected_shape) {
    return Read(name, std::span<const int64_t>(expected_shape.begin(), expected_shape.size()));
  }
  // A tensor in its file's type and in row-major order, for who copies it; checked in nothing but
  // its place.
  StatusOr<const TensorEntry*> Stored(std::string_view name) const;
  StatusOr<std::string> FileOf(std::string_view name) const;  // "model.safetensors"
  Status ReadStored(std::string_view name, uint64_t offset, std::span<std::byte> out) const;
  // Whether two tensors are alike in type, shape and every byte. Reads both, a piece at a time.
  StatusOr<bool> Same(std::string_view a, std::string_view b) const;
  // "dir/model.safetensors: decoder.block.0...": how messages name a tensor.
  std::string Describe(std::string_view name) const;

  std::vector<std::string> names() const;  // sorted
  // Never read: the loader warns of those that should have been.
  std::vector<std::string> UnreadNames() const;
  // 16 hex digits over config.json, generation_config.json and all tensors, the same however the
  // tensors are sharded and in whatever format. Tensors that were read are hashed already; the
  // others are read for it now.
  StatusOr<std::string> Fingerprint();

  const std::string& dir() const { return dir_; }
  // What was opened, and the index that named it: "model.safetensors".
  std::vector<std::string> files() const;

 private:
  struct Tensor {
    TensorFile* file;
    const TensorEntry* entry;
    uint64_t hash = 0;
    bool hashed = false;
    bool read = false;
  };
  using OpenFile = StatusOr<std::unique_ptr<TensorFile>> (*)(const std::string& path);

  explicit Checkpoint(std::string dir) : dir_(std::move(dir)) {}
  Status OpenSingle(const std::string& path, OpenFile open);
  Status OpenShards(const std::string& index_path, OpenFile open);
  const Tensor* Find(std::string_view name) const;

  std::string dir_;
  std::string index_;  // its path, if there is one
  std::vector<std::unique_ptr<TensorFile>> files_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

// "[4, 16]", for messages.
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace precis
