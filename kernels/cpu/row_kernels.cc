// Ops that work on one row at a time: embedding, norm. Activations: kernels/cpu/activate.cc.
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

// out = scale * row + position; no position: null.
template <typename T>
HWY_INLINE void EmbedRow(const T* row, float scale, const float* position, size_t d, float* out) {
  const VF factor = hn::Set(DF(), scale);
  const auto store = [&](VF y, size_t i, size_t count) {
    StoreActivation(y, out, DType::kF32, i, count);
  };
  if (position != nullptr) {
    ForVectors(d, [&](size_t i, size_t count) {
      store(hn::MulAdd(LoadUpTo(row + i, count), factor, LoadUpTo(position + i, count)), i, count);
    });
  } else {
    ForVectors(d, [&](size_t i, size_t count) {
      store(hn::Mul(LoadUpTo(row + i, count), factor), i, count);
    });
  }
}

void Embed(const EmbedParams& p, size_t index) {
  const size_t begin = static_cast<size_t>(p.ids[index]) * p.d;
  const float* position =
      p.position_table != nullptr ? p.position_table + p.positions[index] * p.d : nullptr;
  float* const out = p.out + index * p.d;
  if (p.table_dtype == DType::kBF16) {
    EmbedRow(static_cast<const uint16_t*>(p.table) + begin, p.scale, position, p.d, out);
  } else {
    EmbedRow(static_cast<const float*>(p.table) + begin, p.scale, position, p.d, out);
  }
}

// The sum that `add` makes of a row, in an order that depends on its length only. What fills the
// last vector up must add nothing.
template <class Add>
HWY_INLINE VF SumOfRow(const float* x, size_t n, float fill, Add add) {
  const DF d;
  const size_t lanes = LanesF();
  VF sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (size_t j = 0; j < 4; ++j) sums[j] = add(sums[j], LoadF(x + i + j * lanes));
  }
  for (; i < n; i += lanes) {
    sums[0] = add(sums[0], i + lanes <= n ? LoadF(x + i) : LoadPartial(x + i, n - i, fill));
  }
  const VF sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  return hn::SumOfLanes(d, sum);
}

// Where there is no residual stream, `out` is written.
template <bool kResidual>
HWY_INLINE void StoreNormed(VF y, const Activations& out, size_t at, float* residual, size_t i,
                            size_t count) {
  if (!kResidual || out.data != nullptr) StoreActivation(y, out.data, out.dtype, at + i, count);
  if (kResidual) StoreActivation(y, residual, DType::kF32, i, count);
}

HWY_INLINE VF InverseRoot(VF mean_square, float eps) {
  const DF d;
  return hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Add(mean_square, hn::Set(d, eps))));
}

template <bool kResidual>
void RmsNorm(const float* x, const NormWeights& norm, const Activations& out, size_t index,
             float* residual) {
  const DF d;
  const size_t n = out.cols;
  const VF sum = SumOfRow(x, n, 0.0f, [](VF s, VF v) { return hn::MulAdd(v, v, s); });
  const VF scale = InverseRoot(hn::Div(sum, hn::Set(d, static_cast<float>(n))), norm.eps);
  ForVectors(n, [&](size_t i, size_t count) {
    const VF y = hn::Mul(hn::Mul(LoadUpTo(x + i, count), scale), LoadUpTo(norm.gain + i, count));
    StoreNormed<kResidual>(y, out, index * n, residual, i, count);
  });
}

// The mean of a row of f32 is off by its own roundings, which are large beside the spread where
// the mean is. So the row is taken relative to it, which is exact where that matters, and what is
// left of its mean is taken off next (the corrected two-pass algorithm of Chan, Golub and LeVeque
// 1983).
template <bool kResidual>
void LayerNorm(const float* x, const NormWeights& norm, const Activations& out, size_t index,
               float* residual) {
  const DF d;
  const size_t n = out.cols;
  const VF count_of_row = hn::Set(d, static_cast<float>(n));
  const VF rough =
      hn::Div(SumOfRow(x, n, 0.0f, [](VF s, VF v) { return hn::Add(s, v); }), count_of_row);
  const float fill = hn::GetLane(rough);
  const VF sum = SumOfRow(x, n, fill, [&](VF s, VF v) { return hn::Add(s, hn::Sub(v, rough)); });
  const VF squares = SumOfRow(x, n, fill, [&](VF s, VF v) {
    const VF e = hn::Sub(v, rough);
    return hn::MulAdd(e, e, s);
  });
  const VF rest = hn::Div(sum, count_of_row);
  const VF variance = hn::NegMulAdd(rest, rest, hn::Div(squares, count_of_row));
  const VF scale = InverseRoot(hn::Max(hn::Zero(d), variance), norm.eps);
  ForVectors(n, [&](size_t i, size_t count) {
    const VF centred = hn::Sub(hn::Sub(LoadUpTo(x + i, count), rough), rest);
    const VF y = hn::MulAdd(hn::Mul(centred, scale), LoadUpTo(norm.gain + i, count),
                            LoadUpTo(norm.shift + i, count));
    StoreNormed<kResidual>(y, out, index * n, residual, i, count);
  });
}

template <bool kResidual>
HWY_INLINE void NormOfKind(const float* x, const NormWeights& norm, const Activations& out,
                           size_t index, float* residual) {
  if (norm.kind == NormKind::kLayer) return LayerNorm<kResidual>(x, norm, out, index, residual);
  RmsNorm<kResidual>(x, norm, out, index, residual);
}

void Norm(const float* x, const NormWeights& norm, const Activations& out, size_t index,
          float* residual) {
  if (residual != nullptr) return NormOfKind<true>(x, norm, out, index, residual);
  NormOfKind<false>(x, norm, out, index, residual);
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"
#include "kernels/cpu/isa/isa.h"

namespace precis {

HWY_EXPORT(Embed);
HWY_EXPORT(Norm);

void SelectRowKernels(int64_t hwy_targets, CpuKernels* table) {
  table->embed = PickTarget(HWY_DISPATCH_TABLE(Embed), hwy_targets);
  table->norm = PickTarget(HWY_DISPATCH_TABLE(Norm), hwy_targets);
}

CpuKernels SelectKernels(const Isa& isa) {
  CpuKernels table{};
  SelectRowKernels(isa.hwy_targets, &table);
  SelectActivations(isa.hwy_targets, &table);
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
