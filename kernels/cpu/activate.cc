// Activations of one row, plain and gated.
#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activate.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

struct Relu {
  static HWY_INLINE VF Of(VF x) { return hn::Max(hn::Zero(DF()), x); }
};

// x Phi(x), where Phi is the normal distribution's integral. Of t = |x|, Phi(-t) is
// exp(-t^2 / 2) R(t) with an R that falls slowly, from 1/2 as 1 / (t sqrt(2 pi)); here R is a ratio
// of polynomials of degree 4 and 5, within 6e-9 of R's value for t up to 14. Its coefficients are
// those of least squares, weighted anew until the largest relative error is as small as it gets
// (Lawson 1961), of the ratio made linear (Loeb 1957) at 4000 Chebyshev nodes. All are positive, so
// nothing cancels.
struct Gelu {
  static HWY_INLINE VF Of(VF x) {
    const DF d;
    const VF t = hn::Min(hn::Abs(x), hn::Set(d, 14.0f));  // beyond it, exp is 0
    VF above = hn::MulAdd(hn::Set(d, 4.0776115e-3f), t, hn::Set(d, 4.0372555e-2f));
    above = hn::MulAdd(above, t, hn::Set(d, 1.8246182e-1f));
    above = hn::MulAdd(above, t, hn::Set(d, 4.3725087e-1f));
    above = hn::MulAdd(above, t, hn::Set(d, 0.5f));
    VF below = hn::MulAdd(hn::Set(d, 1.0220928e-2f), t, hn::Set(d, 1.0120580e-1f));
    below = hn::MulAdd(below, t, hn::Set(d, 4.6742908e-1f));
    below = hn::MulAdd(below, t, hn::Set(d, 1.1992907f));
    below = hn::MulAdd(below, t, hn::Set(d, 1.6723867f));
    below = hn::MulAdd(below, t, hn::Set(d, 1.0f));
    const VF one = hn::Set(d, 1.0f);
    const VF bell = Exp(hn::Mul(hn::Mul(t, t), hn::Set(d, -0.5f)));
    const VF tail = hn::Div(hn::Mul(bell, above), below);  // Phi(-t)
    const auto negative = hn::Lt(x, hn::Zero(d));
    return hn::Mul(x, hn::IfThenElse(negative, tail, hn::Sub(one, tail)));
  }
};

// x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) equals 0.5 x (1 + tanh(u)).
struct GeluTanh {
  static HWY_INLINE VF Of(VF x) {
    const DF d;
    const VF cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
    const VF minus_2u = hn::Mul(hn::Mul(x, cubic), hn::Set(d, -1.5957691216057308f));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(minus_2u)));
  }
};

// x / (1 + exp(-x)), with an exp that cannot overflow.
struct Silu {
  static HWY_INLINE VF Of(VF x) {
    const DF d;
    const VF one = hn::Set(d, 1.0f);
    const VF e = Exp(hn::Neg(hn::Abs(x)));
    const VF above = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one);
    return hn::Mul(x, hn::Div(above, hn::Add(one, e)));
  }
};

template <class Activation, bool kGated>
void ActivateRow(const float* in, const Activations& out, size_t index) {
  const size_t n = out.cols;
  ForVectors(n, [&](size_t i, size_t count) {
    VF y = Activation::Of(LoadUpTo(in + i, count));
    if (kGated) y = hn::Mul(y, LoadUpTo(in + n + i, count));
    StoreActivation(y, out.data, out.dtype, index * n + i, count);
  });
}

template <class Activation>
HWY_INLINE void ActivateRow(bool gated, const float* in, const Activations& out, size_t index) {
  if (gated) return ActivateRow<Activation, true>(in, out, index);
  ActivateRow<Activation, false>(in, out, index);
}

void Activate(ActivationKind kind, bool gated, const float* in, const Activations& out,
              size_t index) {
  switch (kind) {
    case ActivationKind::kRelu:
      return ActivateRow<Relu>(gated, in, out, index);
    case ActivationKind::kGelu:
      return ActivateRow<Gelu>(gated, in, out, index);
    case ActivationKind::kGeluTanh:
      return ActivateRow<GeluTanh>(gated, in, out, index);
    case ActivationKind::kSilu:
      return ActivateRow<Silu>(gated, in, out, index);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(Activate);

void SelectActivations(int64_t hwy_targets, CpuKernels* table) {
  table->activate = PickTarget(HWY_DISPATCH_TABLE(Activate), hwy_targets);
}

}  // namespace precis
#endif  // HWY_ONCE
