// The bytes behind the pages: one anonymous mapping, huge pages asked for, zero until written.
//
// Owner: the runner. Thread rule: the step thread reads and writes; construction anywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/status.h"
#include "kernels/ops.h"

namespace precis {

class KvMemory {
 public:
  // Maps num_pages * page_bytes and 64 bytes that vectors may read past the end.
  static StatusOr<KvMemory> Create(uint32_t num_pages, size_t page_bytes);
  KvMemory(KvMemory&& other) noexcept;
  KvMemory& operator=(KvMemory&&) = delete;
  ~KvMemory();

  KvPool pool() const { return {base_, page_bytes_}; }
  uint32_t num_pages() const { return num_pages_; }

 private:
  KvMemory(std::byte* base, size_t mapped_bytes, uint32_t num_pages, size_t page_bytes)
      : base_(base), mapped_bytes_(mapped_bytes), num_pages_(num_pages), page_bytes_(page_bytes) {}

  std::byte* base_;
  size_t mapped_bytes_;
  uint32_t num_pages_;
  size_t page_bytes_;
};

}  // namespace precis
