// Vector helpers of all kernels: loads and stores of f32 and bf16, exp.
//
// Included once per target by the kernels' sources. Thread rule: pure functions.
#if defined(PRECIS_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PRECIS_KERNELS_CPU_SIMD_INL_H_
#undef PRECIS_KERNELS_CPU_SIMD_INL_H_
#else
#define PRECIS_KERNELS_CPU_SIMD_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "kernels/dtype.h"
#include "kernels/ops.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using DH = hn::Rebind<uint16_t, DF>;

HWY_INLINE size_t LanesF() { return hn::Lanes(DF()); }

HWY_INLINE VF LoadF(const float* p) { return hn::LoadU(DF(), p); }
HWY_INLINE VF LoadF(const uint16_t* p) {
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), hn::LoadU(DH(), p))));
}

// The bits of F32ToBF16, a vector at a time, in words.
HWY_INLINE hn::Vec<DU> RoundBF16(VF v) {
  const DU du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, odd), hn::Set(du, 0x7fff)));
  const auto nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  return hn::IfThenElse(is_nan, nan, rounded);
}

HWY_INLINE void StoreBF16(VF v, uint16_t* p) {
  hn::StoreU(hn::DemoteTo(DH(), hn::BitCast(DI(), RoundBF16(v))), DH(), p);
}

// Stores the first `count` lanes (at most a vector) as elements index .. index+count-1.
HWY_INLINE void StoreActivation(VF v, void* data, DType dtype, size_t index, size_t count) {
  if (dtype == DType::kF32) {
    float* p = static_cast<float*>(data) + index;
    if (count == LanesF()) {
      hn::StoreU(v, DF(), p);
      return;
    }
    HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(v, DF(), lanes);
    for (size_t i = 0; i < count; ++i) p[i] = lanes[i];
  } else {
    uint16_t* p = static_cast<uint16_t*>(data) + index;
    if (count == LanesF()) {
      StoreBF16(v, p);
      return;
    }
    HWY_ALIGN uint16_t lanes[HWY_MAX_BYTES / sizeof(float)];
    StoreBF16(v, lanes);
    for (size_t i = 0; i < count; ++i) p[i] = lanes[i];
  }
}

// Loads `count` (less than a vector) floats, the rest is `fill`; reads nothing after them.
HWY_INLINE VF LoadPartial(const float* p, size_t count, float fill) {
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(hn::Set(DF(), fill), DF(), lanes);
  for (size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return hn::Load(DF(), lanes);
}
HWY_INLINE VF LoadPartial(const uint16_t* p, size_t count, float fill) {
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  for (size_t i = 0; i < count; ++i) lanes[i] = BF16ToF32(p[i]);
  return LoadPartial(lanes, count, fill);
}

// A whole vector, or the first `count` of one and zeros.
template <typename T>
HWY_INLINE VF LoadUpTo(const T* p, size_t count) {
  return count == LanesF() ? LoadF(p) : LoadPartial(p, count, 0.0f);
}

// body(first, count) for every vector of n values, the last of which may hold fewer: in the loop
// over whole ones `count` is a constant.
template <class Body>
HWY_INLINE void ForVectors(size_t n, const Body& body) {
  size_t i = 0;
  for (; i + LanesF() <= n; i += LanesF()) body(i, LanesF());
  if (i < n) body(i, n % LanesF());  // n - i, of which the compiler sees the bound
}

// Four rows of four values of 32 bits, transposed.
template <typename T>
HWY_INLINE void Transpose4x4(const T* from, size_t stride, T* to, size_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) to[i * to_stride + j] = from[j * stride + i];
  }
#else
  const hn::FixedTag<T, 4> d4;
  const hn::Repartition<hwy::MakeWide<T>, decltype(d4)> d2;
  const auto a = hn::LoadU(d4, from);
  const auto b = hn::LoadU(d4, from + stride);
  const auto c = hn::LoadU(d4, from + 2 * stride);
  const auto e = hn::LoadU(d4, from + 3 * stride);
  const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d4, a, b));
  const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
  const auto ce_low = hn::BitCast(d2, hn::InterleaveLower(d4, c, e));
  const auto ce_high = hn::BitCast(d2, hn::InterleaveUpper(d4, c, e));
  hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, ab_low, ce_low)), d4, to);
  hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_low, ce_low)), d4, to + to_stride);
  hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, ab_high, ce_high)), d4, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, ab_high, ce_high)), d4, to + 3 * to_stride);
#endif
}

// The factor that takes values to int8, 0 where they are zero or not finite, and what takes them
// back. As kernels/int8_rows.h has it, bit for bit.
template <typename T>
HWY_INLINE float Int8Factor(const T* values, size_t n, float* scale) {
  const DF d;
  const size_t lanes = LanesF();
  VF peak = hn::Zero(d);
  VF not_finite = hn::Zero(d);  // x * 0 is NaN of what is not finite
  for (size_t i = 0; i < n; i += lanes) {
    const VF x = n - i < lanes ? LoadPartial(values + i, n - i, 0.0f) : LoadF(values + i);
    peak = hn::Max(peak, hn::Abs(x));
    not_finite = hn::MulAdd(x, hn::Zero(d), not_finite);
  }
  const float most = hn::GetLane(hn::MaxOfLanes(d, peak));
  const float nan = hn::GetLane(hn::SumOfLanes(d, not_finite));
  if (nan != nan) {
    *scale = std::numeric_limits<float>::quiet_NaN();
    return 0.0f;
  }
  *scale = most < kLeastInt8Peak ? 0.0f : most / 127.0f;
  return most < kLeastInt8Peak ? 0.0f : 127.0f / most;
}

// exp(x) within 2 ulp; 0 below -87.3, exp(88) above 88. The polynomial is that of Cephes' expf.
HWY_INLINE VF Exp(VF x) {
  const DF d;
  const auto underflow = hn::Lt(x, hn::Set(d, -87.3f));
  x = hn::Min(hn::Max(x, hn::Set(d, -87.3f)), hn::Set(d, 88.0f));
  // Adding 1.5 * 2^23 leaves round(x / ln 2) in the low bits, both as integer and as float.
  const auto magic = hn::Set(d, 12582912.0f);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  auto y = hn::MulAdd(r, hn::Set(d, 1.9875691500e-4f), hn::Set(d, 1.3981999507e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 8.3334519073e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 4.1665795894e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.6666665459e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.0000001201e-1f));
  y = hn::MulAdd(y, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const DI di;
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::IfThenZeroElse(underflow, hn::BitCast(d, hn::Add(hn::BitCast(di, y), exponent)));
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#endif
