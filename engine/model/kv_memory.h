// The bytes of the pages, zero until written.
//
// Owner: the runner. Thread rule: the step thread reads and writes; construction anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "common/status.h"
#include "kernels/backend.h"

namespace precis {

class KvMemory {
 public:
  // num_pages * page_bytes, and 64 bytes that vectors may read past the end.
  static StatusOr<KvMemory> Create(Backend& backend, uint32_t num_pages, size_t page_bytes);

  KvPool pool() const { return {memory_.data(), page_bytes_}; }
  uint32_t num_pages() const { return num_pages_; }

 private:
  KvMemory(DeviceMemory memory, uint32_t num_pages, size_t page_bytes)
      : memory_(std::move(memory)), num_pages_(num_pages), page_bytes_(page_bytes) {}

  DeviceMemory memory_;
  uint32_t num_pages_;
  size_t page_bytes_;
};

}  // namespace precis
