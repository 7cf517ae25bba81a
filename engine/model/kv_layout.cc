#include "engine/model/kv_layout.h"

#include <algorithm>

namespace precis {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kMaxPageBytes = size_t{1} << 20;
constexpr uint32_t kSelfSlots = 16;

size_t AlignUp(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

KvKindLayout LayOut(std::span<const uint32_t> kv_heads, uint32_t head_dim, DType dtype,
                    uint32_t slots) {
  KvKindLayout out;
  out.slots = slots;
  size_t offset = 0;
  for (const uint32_t heads : kv_heads) {
    const size_t per_token = size_t{heads} * head_dim * ElementBytes(dtype);
    KvRegion region;
    region.slots = slots;
    region.num_kv_heads = heads;
    region.head_dim = head_dim;
    region.dtype = dtype;
    region.k_offset = offset;
    region.v_offset = offset + AlignUp(per_token * slots);
    offset = region.v_offset + AlignUp(per_token * slots);
    out.bytes_per_token += 2 * per_token;
    out.layers.push_back(region);
  }
  return out;
}

// Bytes of a page with this layout, alignment included.
size_t PageBytes(const KvKindLayout& layout) {
  const KvRegion& last = layout.layers.back();
  const size_t v_bytes =
      size_t{last.num_kv_heads} * last.head_dim * ElementBytes(last.dtype) * last.slots;
  return last.v_offset + AlignUp(v_bytes);
}

}  // namespace

KvLayout MakeKvLayout(std::span<const uint32_t> self_kv_heads,
                      std::span<const uint32_t> cross_kv_heads, uint32_t head_dim, DType dtype) {
  KvLayout out;
  uint32_t slots = kSelfSlots;
  out.self = LayOut(self_kv_heads, head_dim, dtype, slots);
  while (slots > 1 && PageBytes(out.self) > kMaxPageBytes) {
    out.self = LayOut(self_kv_heads, head_dim, dtype, --slots);
  }
  const KvKindLayout one = LayOut(cross_kv_heads, head_dim, dtype, 1);
  out.page_bytes = std::max(PageBytes(out.self), PageBytes(one));
  // Alignment makes bytes a token shrink with the slots: start at the most that could fit.
  slots = static_cast<uint32_t>(out.page_bytes / one.bytes_per_token);
  do {
    out.cross = LayOut(cross_kv_heads, head_dim, dtype, slots);
  } while (PageBytes(out.cross) > out.page_bytes && slots-- > 1);
  return out;
}

}  // namespace precis
