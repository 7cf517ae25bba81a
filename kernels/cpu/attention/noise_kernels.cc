// PGQA's noise: of a row's heads, each with the statistics of its own values. The numbers are those
// of kernels/splitmix.h, a vector of dimensions at a time.
#include <cmath>

#include "kernels/cpu/isa/kernels.h"
#include "kernels/splitmix.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention/noise_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

using DU64 = hn::ScalableTag<uint64_t>;
using VU64 = hn::Vec<DU64>;

HWY_INLINE VU64 MixVector(VU64 z) {
  const DU64 d;
  z = hn::Add(z, hn::Set(d, kSplitMixStep));
  z = hn::Mul(hn::Xor(z, hn::ShiftRight<30>(z)), hn::Set(d, kSplitMixFirst));
  z = hn::Mul(hn::Xor(z, hn::ShiftRight<27>(z)), hn::Set(d, kSplitMixSecond));
  return hn::Xor(z, hn::ShiftRight<31>(z));
}

// out[0 .. n) = the uniforms of the dimensions, and 0 up to the end of the vector.
HWY_INLINE void DrawUniforms(uint64_t chain, size_t n, float* out) {
  const DU64 d;
  const hn::Rebind<int32_t, DU64> d32;
  const hn::Rebind<float, DU64> df;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const VU64 mixed = MixVector(hn::Xor(hn::Set(d, chain), hn::Iota(d, i)));
    const auto bits = hn::TruncateTo(hn::Rebind<uint32_t, DU64>(), hn::ShiftRight<40>(mixed));
    const auto whole = hn::ConvertTo(df, hn::BitCast(d32, bits));
    hn::StoreU(hn::Mul(whole, hn::Set(df, 0x1p-24f)), df, out + i);
  }
  for (size_t i = n; i % LanesF() != 0; ++i) out[i] = 0.0f;
}

HWY_INLINE VF LoadHead(const float* values, size_t i, size_t n) {
  return n - i < LanesF() ? LoadPartial(values + i, n - i, 0.0f) : LoadF(values + i);
}

struct Statistics {
  float mean;
  float deviation;  // with divisor n - 1; 0 of a single value
};

HWY_INLINE Statistics StatisticsOf(const float* values, size_t n) {
  const DF d;
  VF sum = hn::Zero(d);
  for (size_t i = 0; i < n; i += LanesF()) sum = hn::Add(sum, LoadHead(values, i, n));
  const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(n);
  VF squares = hn::Zero(d);
  for (size_t i = 0; i < n; i += LanesF()) {
    const VF off = hn::Sub(LoadHead(values, i, n), hn::Set(d, mean));
    const VF seen = n - i < LanesF() ? hn::IfThenElseZero(hn::FirstN(d, n - i), off) : off;
    squares = hn::MulAdd(seen, seen, squares);
  }
  if (n == 1) return {mean, 0.0f};
  const float variance = hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<float>(n - 1);
  return {mean, std::sqrt(variance)};
}

// scratch: [head_dim, padded to vectors].
void SubtractNoise(const SubtractNoiseParams& p, size_t row, float* scratch) {
  const DF d;
  const size_t n = p.head_dim;
  for (uint32_t head = 0; head < p.num_heads; ++head) {
    const size_t begin = (row * p.num_heads + head) * n;
    const float* x = p.x + begin;
    DrawUniforms(NoiseChain(p.rows[row].seed, p.layer, p.kind, head, p.rows[row].position), n,
                 scratch);
    const size_t place = head % p.group_size;
    if (place < n) scratch[place] = 0.0f;
    const Statistics noise = StatisticsOf(scratch, n);
    const Statistics of_x = StatisticsOf(x, n);
    const VF scale =
        hn::Set(d, of_x.deviation / (noise.deviation == 0.0f ? 1.0f : noise.deviation));
    for (size_t i = 0; i < n; i += LanesF()) {
      const VF z = hn::Sub(LoadHead(scratch, i, n), hn::Set(d, noise.mean));
      const VF taken = hn::MulAdd(z, scale, hn::Set(d, of_x.mean));
      StoreActivation(hn::Sub(LoadHead(x, i, n), taken), p.out.data, p.out.dtype, begin + i,
                      n - i < LanesF() ? n - i : LanesF());
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(SubtractNoise);

size_t NoiseScratchFloats(size_t head_dim) { return PadToLanes(head_dim); }

void SelectNoiseKernels(int64_t hwy_targets, CpuKernels* table) {
  table->subtract_noise = PickTarget(HWY_DISPATCH_TABLE(SubtractNoise), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
