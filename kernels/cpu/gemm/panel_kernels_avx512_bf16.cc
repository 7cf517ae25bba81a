// Products of bf16 by AVX512-BF16. Compiled with flags of its own: see panel_kernels-inl.h.
#include "kernels/cpu/gemm/panel_kernels-inl.h"

namespace precis {
namespace {

// A step is two of a row's values, and pairs of the weights of each column.
struct Bf16Product {
  using Sums = __m512;

  static inline Sums Start(const PanelTask&, size_t) { return _mm512_setzero_ps(); }
  static inline Sums Add(Sums sums, __m512i weights, __m512i x) {
    return _mm512_dpbf16_ps(sums, (__m512bh)weights, (__m512bh)x);
  }
  static inline __m512 Finish(const PanelTask&, Sums sums, size_t, size_t) { return sums; }
};

}  // namespace

void MultiplyPanelsAvx512Bf16(const PanelTask& task) { MultiplyPanels<Bf16Product>(task); }

}  // namespace precis
