// Ops that work on one row at a time: widening, norm, activation.
#include <cmath>

#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

void WidenBF16(const uint16_t* row, size_t d, float* out) {
  size_t i = 0;
  for (; i + LanesF() <= d; i += LanesF()) hn::StoreU(LoadF(row + i), DF(), out + i);
  for (; i < d; ++i) out[i] = BF16ToF32(row[i]);
}

// The order of the sum depends on the length of the row only.
void RmsNorm(const float* x, const float* gain, float eps, const Activations& out, size_t index) {
  const DF d;
  const size_t n = out.cols;
  const size_t lanes = LanesF();
  VF sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (size_t j = 0; j < 4; ++j) {
      const VF v = LoadF(x + i + j * lanes);
      sums[j] = hn::MulAdd(v, v, sums[j]);
    }
  }
  for (; i < n; i += lanes) {
    const VF v = i + lanes <= n ? LoadF(x + i) : LoadPartial(x + i, n - i, 0.0f);
    sums[0] = hn::MulAdd(v, v, sums[0]);
  }
  const VF sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  const VF mean = hn::Div(hn::SumOfLanes(d, sum), hn::Set(d, static_cast<float>(n)));
  const VF scale = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Add(mean, hn::Set(d, eps))));
  for (i = 0; i < n; i += lanes) {
    const size_t count = n - i < lanes ? n - i : lanes;
    const bool whole = count == lanes;
    const VF v = whole ? LoadF(x + i) : LoadPartial(x + i, count, 0.0f);
    const VF g = whole ? LoadF(gain + i) : LoadPartial(gain + i, count, 0.0f);
    StoreActivation(hn::Mul(hn::Mul(v, scale), g), out.data, out.dtype, index * n + i, count);
  }
}

// x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) equals 0.5 x (1 + tanh(u)).
HWY_INLINE VF GeluTanh(VF x) {
  const DF d;
  const VF cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  const VF minus_2u = hn::Mul(hn::Mul(x, cubic), hn::Set(d, -1.5957691216057308f));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(minus_2u)));
}

void Activate(ActivationKind kind, const float* in, const Activations& out, size_t index) {
  const size_t n = out.cols;
  const size_t lanes = LanesF();
  for (size_t i = 0; i < n; i += lanes) {
    const size_t count = n - i < lanes ? n - i : lanes;
    const bool whole = count == lanes;
    VF v = whole ? LoadF(in + i) : LoadPartial(in + i, count, 0.0f);
    if (kind == ActivationKind::kRelu) {
      v = hn::Max(v, hn::Zero(DF()));
    } else {
      const float* up = in + n + i;
      v = hn::Mul(GeluTanh(v), whole ? LoadF(up) : LoadPartial(up, count, 0.0f));
    }
    StoreActivation(v, out.data, out.dtype, index * n + i, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"
#include "kernels/cpu/isa/isa.h"

namespace precis {

HWY_EXPORT(WidenBF16);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(Activate);

void SelectRowKernels(int64_t hwy_targets, CpuKernels* table) {
  table->widen_bf16 = PickTarget(HWY_DISPATCH_TABLE(WidenBF16), hwy_targets);
  table->rms_norm = PickTarget(HWY_DISPATCH_TABLE(RmsNorm), hwy_targets);
  table->activate = PickTarget(HWY_DISPATCH_TABLE(Activate), hwy_targets);
}

CpuKernels SelectKernels(const Isa& isa) {
  CpuKernels table{};
  SelectRowKernels(isa.hwy_targets, &table);
  SelectScoreKernels(isa.hwy_targets, &table);
  SelectAppendKv(isa.hwy_targets, &table);
  SelectInt8Kernels(isa.hwy_targets, &table);
  SelectEncoderAttention(isa.hwy_targets, &table);
  SelectPagedAttention(isa.hwy_targets, &table);
  SelectNoiseKernels(isa.hwy_targets, &table);
  SelectIntrinsics(isa, &table);
  return table;
}

}  // namespace precis
#endif  // HWY_ONCE
