// Encoder attention by AVX512-BF16. Compiled with flags of its own: see attention_bf16-inl.h.
#include "kernels/cpu/attention_bf16-inl.h"

namespace precis {
namespace {

// Two bf16 of a row, read as one element.
typedef int32_t __attribute__((may_alias)) Pair;

struct VectorProduct {
  static constexpr size_t kRows = 8;  // 16 accumulators, with two vectors of a panel

  // c[32, 32] = a[32, depth] * panel, or += when `add`; depth is even.
  static inline void Multiply(const uint16_t* a, size_t a_stride, const uint16_t* panel,
                              size_t depth, bool add, float* c, size_t c_stride) {
    for (size_t i = 0; i < kBlockRows; i += kRows) {
      Rows(a + i * a_stride, a_stride, panel, depth, add, c + i * c_stride, c_stride);
    }
  }

  static inline void Rows(const uint16_t* a, size_t a_stride, const uint16_t* panel, size_t depth,
                          bool add, float* c, size_t c_stride) {
    __m512 acc[kRows][2];
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      acc[i][0] = add ? _mm512_loadu_ps(c + i * c_stride) : _mm512_setzero_ps();
      acc[i][1] = add ? _mm512_loadu_ps(c + i * c_stride + 16) : _mm512_setzero_ps();
    }
    for (size_t k = 0; k < depth; k += 2, panel += 2 * kPanel) {
      const __m512bh left = (__m512bh)_mm512_loadu_si512(panel);
      const __m512bh right = (__m512bh)_mm512_loadu_si512(panel + 32);
#pragma GCC unroll 8
      for (size_t i = 0; i < kRows; ++i) {
        const __m512bh pair =
            (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const Pair*>(a + i * a_stride + k));
        acc[i][0] = _mm512_dpbf16_ps(acc[i][0], left, pair);
        acc[i][1] = _mm512_dpbf16_ps(acc[i][1], right, pair);
      }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      _mm512_storeu_ps(c + i * c_stride, acc[i][0]);
      _mm512_storeu_ps(c + i * c_stride + 16, acc[i][1]);
    }
  }
};

}  // namespace

void EncoderAttentionAvx512Bf16(const EncoderAttentionParams& params, size_t head, size_t first,
                                size_t rows, float* scratch) {
  Attend<VectorProduct>(params, head, first, rows, scratch);
}

}  // namespace precis
