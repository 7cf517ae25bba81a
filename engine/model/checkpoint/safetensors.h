// One safetensors file: a checked header and tensors read on demand with pread. The format (8 bytes
// of header length, JSON, data without holes) is github.com/huggingface/safetensors.
//
// Owner: Checkpoint. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/content_hash.h"
#include "engine/model/checkpoint/safetensors_header.h"

namespace precis {

class SafetensorsFile {
 public:
  // The error names the file and, where there is one, the tensor.
  static StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const TensorEntry* Find(std::string_view name) const;
  std::span<const TensorEntry> tensors() const { return tensors_; }  // sorted by name

  // f32, bf16 or f16 as f32, every value finite; the stored bytes go into `hash`.
  StatusOr<std::vector<float>> Read(const TensorEntry& entry, ContentHash* hash) const;
  // `out.size()` stored bytes of a tensor of any type, from its byte `offset`.
  Status ReadStored(const TensorEntry& entry, uint64_t offset, std::span<std::byte> out) const;
  // Only the stored bytes, of any type.
  Status Hash(const TensorEntry& entry, ContentHash* hash) const;

 private:
  SafetensorsFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  Status ReadHeader(uint64_t file_bytes);
  Status Pread(uint64_t offset, std::span<std::byte> out) const;

  std::string path_;
  int fd_;
  uint64_t data_offset_ = 0;
  std::vector<TensorEntry> tensors_;
};

}  // namespace precis
