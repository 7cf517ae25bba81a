// Writes new keys and values into pages: a transposing scatter for K, plain rows for V.
#include "kernels/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/append_kv.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

HWY_INLINE void PutElement(float value, float* p) { *p = value; }
HWY_INLINE void PutElement(float value, uint16_t* p) { *p = F32ToBF16(value); }

template <typename T>
HWY_INLINE void AppendRow(const AppendKvParams& p, size_t row) {
  const KvRegion& r = p.region;
  const size_t slot = p.slots[row].slot;
  std::byte* page = p.pool.base + static_cast<size_t>(p.slots[row].page) * p.pool.page_bytes;
  T* k_page = reinterpret_cast<T*>(page + r.k_offset) + slot;
  T* v_page = reinterpret_cast<T*>(page + r.v_offset);
  const float* k = p.k + row * p.row_stride;
  const float* v = p.v + row * p.row_stride;
  const size_t width = static_cast<size_t>(r.num_kv_heads) * r.head_dim;
  for (size_t i = 0; i < width; ++i) PutElement(k[i], k_page + i * r.slots);
  for (size_t g = 0; g < r.num_kv_heads; ++g) {
    const size_t to = (g * r.slots + slot) * r.head_dim;
    for (size_t i = 0; i < r.head_dim; i += LanesF()) {
      const size_t count = r.head_dim - i < LanesF() ? r.head_dim - i : LanesF();
      const float* from = v + g * r.head_dim + i;
      const VF values = count == LanesF() ? LoadF(from) : LoadPartial(from, count, 0.0f);
      StoreActivation(values, v_page, r.dtype, to + i, count);
    }
  }
}

void AppendKv(const AppendKvParams& params, size_t begin, size_t end) {
  for (size_t row = begin; row < end; ++row) {
    if (params.region.dtype == DType::kBF16) {
      AppendRow<uint16_t>(params, row);
    } else {
      AppendRow<float>(params, row);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/dispatch.h"

namespace precis {

HWY_EXPORT(AppendKv);

void SelectAppendKv(int64_t hwy_targets, CpuKernels* table) {
  table->append_kv = PickTarget(HWY_DISPATCH_TABLE(AppendKv), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
