// Rows of activations to int8 before a GEMM, and its sums back to floats after it.
#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/int8_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE float RoundRowTo(const T* row, size_t n, uint8_t* out) {
  const hn::Rebind<uint8_t, DF> d8;
  const size_t lanes = LanesF();
  float scale;
  const VF factor = hn::Set(DF(), Int8Factor(row, n, &scale));
  // A factor of 0 gives zeros but of what is not finite, whose scale is NaN.
  const auto round = [&](VF x) {
    const auto q = hn::NearestInt(hn::Mul(x, factor));
    return hn::DemoteTo(d8, hn::Add(q, hn::Set(DI(), kInt8ZeroPoint)));
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(round(LoadF(row + i)), d8, out + i);
  if (i < n) {
    HWY_ALIGN uint8_t rest[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(round(LoadPartial(row + i, n - i, 0.0f)), d8, rest);
    for (size_t j = 0; i + j < n; ++j) out[i + j] = rest[j];
  }
  return scale;
}

float RoundRow(const void* row, DType dtype, size_t n, uint8_t* out) {
  return dtype == DType::kF32 ? RoundRowTo(static_cast<const float*>(row), n, out)
                              : RoundRowTo(static_cast<const uint16_t*>(row), n, out);
}

template <bool kBias>
HWY_INLINE void ScaleSumsTo(const int32_t* sums, const Int8Columns& columns, float row_scale,
                            bool accumulate, size_t n, float* out) {
  const DF d;
  const size_t lanes = LanesF();
  const VF of_row = hn::Set(d, row_scale);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto sum =
        hn::Sub(hn::LoadU(DI(), sums + i), hn::LoadU(DI(), columns.zero_point_sums + i));
    VF value = hn::Mul(hn::ConvertTo(d, sum), hn::Mul(of_row, hn::LoadU(d, columns.scales + i)));
    if (kBias) value = hn::Add(value, hn::LoadU(d, columns.bias + i));
    hn::StoreU(accumulate ? hn::Add(value, hn::LoadU(d, out + i)) : value, d, out + i);
  }
  for (; i < n; ++i) {
    const auto sum = static_cast<float>(sums[i] - columns.zero_point_sums[i]);
    float value = sum * (row_scale * columns.scales[i]);
    if (kBias) value += columns.bias[i];
    out[i] = accumulate ? value + out[i] : value;
  }
}

void ScaleSums(const int32_t* sums, const Int8Columns& columns, float row_scale, bool accumulate,
               size_t n, float* out) {
  if (columns.bias != nullptr)
    return ScaleSumsTo<true>(sums, columns, row_scale, accumulate, n, out);
  ScaleSumsTo<false>(sums, columns, row_scale, accumulate, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(RoundRow);
HWY_EXPORT(ScaleSums);

void SelectInt8Kernels(int64_t hwy_targets, CpuKernels* table) {
  table->round_row = PickTarget(HWY_DISPATCH_TABLE(RoundRow), hwy_targets);
  table->scale_sums = PickTarget(HWY_DISPATCH_TABLE(ScaleSums), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
