// One file of tensors, whatever its format: what its header says, and values read on demand. The
// formats' readers (safetensors.h, torch/torch_file.h) find and check the entries.
//
// Owner: Checkpoint. Thread rule: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/content_hash.h"
#include "engine/model/checkpoint/file/file_bytes.h"

namespace precis {

enum class StoredType : uint8_t { kF32, kBf16, kF16, kOther };

struct TensorEntry {
  std::string name;
  std::string dtype_name;  // as safetensors has it: "F32"
  StoredType dtype = StoredType::kOther;
  std::vector<int64_t> shape;
  // Row-major in the bytes [begin, end) of the file if `strides` is empty. Else `begin` is the byte
  // of the first element, `end` as if all followed it, and `strides` (in elements) say where they
  // are.
  uint64_t begin = 0;
  uint64_t end = 0;
  std::vector<int64_t> strides = {};

  uint64_t num_bytes() const { return end - begin; }
};

class TensorFile {
 public:
  // Every entry lies in the file. Their names differ.
  TensorFile(FileBytes file, std::vector<TensorEntry> tensors);

  const std::string& path() const { return file_.path(); }
  const TensorEntry* Find(std::string_view name) const;
  std::span<const TensorEntry> tensors() const { return tensors_; }  // sorted by name

  // f32, bf16 or f16 as f32, every value finite; the stored bytes go into `hash`. Here and below,
  // bytes come in row-major order, and errors name file and tensor.
  StatusOr<std::vector<float>> Read(const TensorEntry& entry, ContentHash* hash) const;
  // `out.size()` stored bytes of a tensor of any type, from its byte `offset`: whole elements.
  Status ReadStored(const TensorEntry& entry, uint64_t offset, std::span<std::byte> out) const;
  // Only the stored bytes, of any type.
  Status Hash(const TensorEntry& entry, ContentHash* hash) const;

 private:
  // From the first to the last element of a tensor that does not lie row-major, which is read at
  // once: piece by piece, each piece would need all of it.
  struct Spanned {
    const TensorEntry* entry = nullptr;
    std::vector<std::byte> bytes;
  };

  Status ReadStrided(const TensorEntry& entry, uint64_t offset, std::span<std::byte> out) const;
  StatusOr<Spanned*> SpannedOf(const TensorEntry& entry, uint64_t element_bytes) const;

  FileBytes file_;
  std::vector<TensorEntry> tensors_;
  // Two, for who compares tensors; each goes when its last byte is handed over.
  mutable std::array<Spanned, 2> spanned_;
  mutable size_t older_ = 0;
};

}  // namespace precis
