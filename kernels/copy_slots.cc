#include "kernels/copy_slots.h"

#include <cstring>

namespace precis {

void CopyPageSlots(const KvPool& pool, std::span<const KvRegion> layers, const PageCopyRef& copy) {
  const std::byte* from = pool.base + static_cast<size_t>(copy.from) * pool.page_bytes;
  std::byte* to = pool.base + static_cast<size_t>(copy.to) * pool.page_bytes;
  for (const KvRegion& r : layers) {
    const size_t element = ElementBytes(r.dtype);
    // K: [num_kv_heads, head_dim, slots]
    const size_t k_rows = size_t{r.num_kv_heads} * r.head_dim;
    for (size_t i = 0; i < k_rows; ++i) {
      const size_t at = r.k_offset + i * r.slots * element;
      std::memcpy(to + at, from + at, copy.slots * element);
    }
    // V: [num_kv_heads, slots, head_dim]
    for (size_t g = 0; g < r.num_kv_heads; ++g) {
      const size_t at = r.v_offset + g * r.slots * r.head_dim * element;
      std::memcpy(to + at, from + at, size_t{copy.slots} * r.head_dim * element);
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
