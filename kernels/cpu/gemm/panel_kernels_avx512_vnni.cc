// Products of int8 by AVX512-VNNI. Compiled with flags of its own: see panel_kernels-inl.h.
#include "kernels/cpu/gemm/panel_kernels-inl.h"

namespace precis {
namespace {

// A step is four of a row's unsigned values, and four signed weights of each column. Sums are
// exact; they begin at what takes the zero point of the row off.
struct Int8Product {
  using Sums = __m512i;

  static inline Sums Start(const PanelTask& t, size_t column) {
    return _mm512_loadu_si512(t.starts + column);
  }
  static inline Sums Add(Sums sums, __m512i weights, __m512i x) {
    return _mm512_dpbusd_epi32(sums, x, weights);
  }
  static inline __m512 Finish(const PanelTask& t, Sums sums, size_t row, size_t column) {
    const __m512 scale =
        _mm512_mul_ps(_mm512_set1_ps(t.row_scales[row]), _mm512_loadu_ps(t.column_scales + column));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
  }
};

}  // namespace

void MultiplyPanelsAvx512Vnni(const PanelTask& task) { MultiplyPanels<Int8Product>(task); }

}  // namespace precis
