// Regions inside a page: aligned, apart from each other, within the page, in every type.
#include "engine/model/kv_layout.h"

#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

// Where the next region may begin.
size_t EndOf(const KvRegion& r) {
  const size_t kv = size_t{r.num_kv_heads} * r.head_dim * r.slots * ElementBytes(r.dtype);
  const size_t scales =
      r.dtype == DType::kI8 ? size_t{r.num_kv_heads} * r.slots * sizeof(float) : 0;
  EXPECT_LE(r.k_offset + kv, r.k_scale_offset);
  EXPECT_LE(r.k_scale_offset + scales, r.v_offset);
  EXPECT_LE(r.v_offset + kv, r.v_scale_offset);
  for (const size_t offset : {r.k_offset, r.v_offset, r.k_scale_offset, r.v_scale_offset}) {
    EXPECT_EQ(offset % 64, 0u);
  }
  return r.v_scale_offset + scales;
}

TEST(KvLayout, RegionsLieApartAndWithinThePage) {
  const std::vector<uint32_t> self = {8, 2, 3};
  const std::vector<uint32_t> cross = {1, 8, 5};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (const uint32_t head_dim : {1u, 24u, 64u}) {
      const KvLayout layout = MakeKvLayout(self, cross, head_dim, dtype, false);
      for (const KvKindLayout* kind : {&layout.self, &layout.cross}) {
        size_t end = 0;
        for (const KvRegion& region : kind->layers) {
          EXPECT_GE(region.k_offset, end);
          end = EndOf(region);
        }
        EXPECT_LE(end, layout.page_bytes);
        EXPECT_LE(kind->slots * kind->bytes_per_token, layout.page_bytes);
      }
    }
  }
}

TEST(KvLayout, Int8TakesAByteAValueAndAFloatAHead) {
  const std::vector<uint32_t> heads(6, 8);
  const KvLayout layout = MakeKvLayout(heads, heads, 64, DType::kI8, false);
  EXPECT_EQ(layout.self.bytes_per_token, 6u * 2 * 8 * (64 + 4));
  EXPECT_EQ(layout.page_bytes, 16u * 6 * 2 * 8 * (64 + 4));
  EXPECT_EQ(layout.cross.slots, 16u);
}

}  // namespace
}  // namespace precis
