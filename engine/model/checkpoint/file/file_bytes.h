// A regular file that is read by place with pread: nothing is mapped, nothing kept.
//
// Owner: whoever reads the file. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/descriptor.h"
#include "common/status.h"

namespace precis {

class FileBytes {
 public:
  // NOT_FOUND if there is none; the error names the file.
  static StatusOr<FileBytes> Open(const std::string& path);

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened
  // All of `out`, from byte `offset`. The error does not name the file.
  Status Read(uint64_t offset, std::span<std::byte> out) const;

 private:
  FileBytes(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  Descriptor file_;
  uint64_t size_ = 0;
};

}  // namespace precis
