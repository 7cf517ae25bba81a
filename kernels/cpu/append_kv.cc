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

// A factor of 0 gives zeros, whatever the values.
HWY_INLINE void PutInt8(const float* values, size_t n, float factor, int8_t* to, size_t stride) {
  HWY_ALIGN int32_t lanes[HWY_MAX_BYTES / sizeof(int32_t)];
  for (size_t i = 0; i < n; i += LanesF()) {
    const size_t count = n - i < LanesF() ? n - i : LanesF();
    const VF x = count < LanesF() ? LoadPartial(values + i, count, 0.0f) : LoadF(values + i);
    const auto rounded = hn::NearestInt(hn::Mul(x, hn::Set(DF(), factor)));
    hn::Store(factor == 0.0f ? hn::Zero(DI()) : rounded, DI(), lanes);
    for (size_t j = 0; j < count; ++j) to[(i + j) * stride] = static_cast<int8_t>(lanes[j]);
  }
}

HWY_INLINE void AppendInt8Row(const AppendKvParams& p, size_t row) {
  const KvRegion& r = p.region;
  const size_t slot = p.slots[row].slot;
  std::byte* page = p.pool.base + static_cast<size_t>(p.slots[row].page) * p.pool.page_bytes;
  int8_t* k_page = reinterpret_cast<int8_t*>(page + r.k_offset) + slot;
  int8_t* v_page = reinterpret_cast<int8_t*>(page + r.v_offset);
  float* k_scales = reinterpret_cast<float*>(page + r.k_scale_offset);
  float* v_scales = reinterpret_cast<float*>(page + r.v_scale_offset);
  for (size_t g = 0; g < r.num_kv_heads; ++g) {
    const size_t at = g * r.slots + slot;
    const float* k = p.k + row * p.row_stride + g * r.head_dim;
    const float* v = p.v + row * p.row_stride + g * r.head_dim;
    const float k_factor = Int8Factor(k, r.head_dim, k_scales + at);
    PutInt8(k, r.head_dim, k_factor, k_page + g * r.head_dim * r.slots, r.slots);
    const float v_factor = Int8Factor(v, r.head_dim, v_scales + at);
    PutInt8(v, r.head_dim, v_factor, v_page + at * r.head_dim, 1);
  }
}

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
    if (params.region.dtype == DType::kI8) {
      AppendInt8Row(params, row);
    } else if (params.region.dtype == DType::kBF16) {
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
