#include "engine/model/kv_layout.h"

#include <algorithm>

namespace precis {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kMaxPageBytes = size_t{1} << 20;
constexpr uint32_t kSelfSlots = 16;

size_t AlignUp(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// What all layers of both kinds have in common.
struct TokenShape {
  uint32_t head_dim;
  DType dtype;
  bool keeps_key_squares;
};

KvKindLayout LayOut(std::span<const uint32_t> kv_heads, const TokenShape& shape, uint32_t slots) {
  KvKindLayout out;
  out.slots = slots;
  size_t offset = 0;
  for (const uint32_t heads : kv_heads) {
    // Of a token: K or V, the scales of either, the sums.
    const size_t values = size_t{heads} * shape.head_dim * ElementBytes(shape.dtype);
    const size_t scales = shape.dtype == DType::kI8 ? size_t{heads} * sizeof(float) : 0;
    const size_t squares = shape.keeps_key_squares ? size_t{heads} * sizeof(float) : 0;
    KvRegion region;
    region.slots = slots;
    region.num_kv_heads = heads;
    region.head_dim = shape.head_dim;
    region.dtype = shape.dtype;
    region.k_offset = offset;
    region.k_scale_offset = region.k_offset + AlignUp(heads * region.k_head_bytes());
    region.v_offset = region.k_scale_offset + AlignUp(scales * slots);
    region.v_scale_offset = region.v_offset + AlignUp(heads * region.v_head_bytes());
    offset = region.v_scale_offset + AlignUp(scales * slots);
    region.keeps_key_squares = shape.keeps_key_squares;
    region.key_squares_offset = offset;
    offset += AlignUp(squares * slots);
    out.bytes_per_token += 2 * (values + scales) + squares;
    out.layers.push_back(region);
  }
  out.page_bytes = offset;
  return out;
}

// Slots that fill their words of V, where there are as many: the fastest kernels want no others.
uint32_t WholeWords(uint32_t slots, DType dtype) {
  const auto pack = static_cast<uint32_t>(kKvWordBytes / ElementBytes(dtype));
  return slots < pack ? slots : slots / pack * pack;
}

}  // namespace

KvLayout MakeKvLayout(std::span<const uint32_t> self_kv_heads,
                      std::span<const uint32_t> cross_kv_heads, uint32_t head_dim, DType dtype,
                      bool keeps_key_squares) {
  const TokenShape shape{head_dim, dtype, keeps_key_squares};
  KvLayout out;
  uint32_t slots = kSelfSlots;
  out.self = LayOut(self_kv_heads, shape, slots);
  while (slots > 1 && out.self.page_bytes > kMaxPageBytes) {
    slots = WholeWords(slots - 1, dtype);
    out.self = LayOut(self_kv_heads, shape, slots);
  }
  const KvKindLayout one = LayOut(cross_kv_heads, shape, 1);
  out.page_bytes = std::max(out.self.page_bytes, one.page_bytes);
  // Alignment makes bytes a token shrink with the slots: start at the most that could fit.
  slots = static_cast<uint32_t>(out.page_bytes / one.bytes_per_token);
  for (slots = WholeWords(slots, dtype);; slots = WholeWords(slots - 1, dtype)) {
    out.cross = LayOut(cross_kv_heads, shape, slots);
    if (out.cross.page_bytes <= out.page_bytes || slots == 1) break;
  }
  return out;
}

}  // namespace precis
