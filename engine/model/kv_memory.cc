#include "engine/model/kv_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kOverhang = 64;

}  // namespace

StatusOr<KvMemory> KvMemory::Create(uint32_t num_pages, size_t page_bytes) {
  const size_t bytes = size_t{num_pages} * page_bytes + kOverhang;
  // Not committed until touched: an idle server holds no more than it has used.
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return Status(absl::StatusCode::kResourceExhausted,
                  fmt::format("cannot map {} bytes for the page pool: {} (see --pool-bytes)", bytes,
                              std::strerror(errno)));
  }
  madvise(base, bytes, MADV_HUGEPAGE);  // a wish: without it only translation gets slower
  return KvMemory(static_cast<std::byte*>(base), bytes, num_pages, page_bytes);
}

KvMemory::KvMemory(KvMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_bytes_(other.mapped_bytes_),
      num_pages_(other.num_pages_),
      page_bytes_(other.page_bytes_) {}

KvMemory::~KvMemory() {
  if (base_ != nullptr) munmap(base_, mapped_bytes_);
}

}  // namespace precis
