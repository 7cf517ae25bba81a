#include "kernels/copy_slots.h"

#include <cstring>

namespace precis {

void CopyPageSlots(const KvPool& pool, std::span<const KvRegion> layers, const PageCopyRef& copy) {
  const std::byte* from = pool.base + static_cast<size_t>(copy.from) * pool.page_bytes;
  std::byte* to = pool.base + static_cast<size_t>(copy.to) * pool.page_bytes;
  for (const KvRegion& r : layers) {
    const size_t k_rows = r.num_kv_heads * r.dim_words();
    for (size_t i = 0; i < k_rows; ++i) {
      const size_t at = r.k_offset + i * r.slots * kKvWordBytes;
      std::memcpy(to + at, from + at, copy.slots * kKvWordBytes);
    }
    // Whole words: the slots of the last that are not filled belong to no one on either side.
    const size_t v_words = (copy.slots + r.pack() - 1) / r.pack() * r.head_dim;
    for (size_t g = 0; g < r.num_kv_heads; ++g) {
      const size_t at = r.v_offset + g * r.v_head_bytes();
      std::memcpy(to + at, from + at, v_words * kKvWordBytes);
    }
    if (r.keeps_key_squares) {
      const size_t bytes = copy.slots * r.num_kv_heads * sizeof(float);
      std::memcpy(to + r.key_squares_offset, from + r.key_squares_offset, bytes);
    }
    if (r.dtype != DType::kI8) continue;
    for (const size_t offset : {r.k_scale_offset, r.v_scale_offset}) {
      for (size_t g = 0; g < r.num_kv_heads; ++g) {
        const size_t at = offset + g * r.slots * sizeof(float);
        std::memcpy(to + at, from + at, copy.slots * sizeof(float));
      }
    }
  }
}

}  // namespace precis
