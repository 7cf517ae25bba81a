#include "kernels/cpu/gemm/weight_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Matrices that follow each other share large pages. What is never touched takes no memory.
constexpr size_t kChunkBytes = size_t{64} << 20;

constexpr size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

WeightMemory::~WeightMemory() {
  for (const Chunk& chunk : chunks_) munmap(chunk.base, chunk.bytes);
}

StatusOr<std::byte*> WeightMemory::Claim(size_t bytes) {
  bytes = RoundUp(bytes, kLine);
  if (free_bytes_ < bytes) {
    const size_t usable = std::max(RoundUp(bytes, kHugePage), kChunkBytes);
    const size_t mapped = usable + kHugePage;
    void* const base =
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
      return absl::ResourceExhaustedError(fmt::format("no memory for {} bytes of weights", bytes));
    }
    chunks_.push_back({static_cast<std::byte*>(base), mapped});
    const size_t skipped = kHugePage - reinterpret_cast<uintptr_t>(base) % kHugePage;
    free_ = static_cast<std::byte*>(base) + skipped;
    free_bytes_ = mapped - skipped;
    madvise(free_, free_bytes_, MADV_HUGEPAGE);
  }
  std::byte* const claimed = free_;
  free_ += bytes;
  free_bytes_ -= bytes;
  return claimed;
}

}  // namespace precis
