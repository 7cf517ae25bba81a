// Rounds a row to int8 by AVX-512, to the bits of kernels/int8_rows.h: the largest magnitude is
// found among bit patterns, which order as magnitudes do and show what is not finite. Compiled with
// flags of its own, so that nothing inline of ours or of the standard library is called here.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa/kernels.h"

namespace precis {
namespace {

inline __mmask16 First(size_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
}

// 16 values as the bits of floats; those from `count` on are zeros.
inline __m512i LoadBits(const float* row, size_t count) {
  return _mm512_maskz_loadu_epi32(First(count), row);
}
inline __m512i LoadBits(const uint16_t* row, size_t count) {
  const __m256i half = _mm256_maskz_loadu_epi16(First(count), row);
  return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

template <typename T>
inline float RoundRowOf(const T* row, size_t n, uint8_t* out) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i most[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (size_t i = 0; i < n; i += 32) {
    const __m512i left = LoadBits(row + i, n - i);
    const __m512i right = n - i > 16 ? LoadBits(row + i + 16, n - i - 16) : left;
    most[0] = _mm512_max_epu32(most[0], _mm512_and_epi32(left, magnitude));
    most[1] = _mm512_max_epu32(most[1], _mm512_and_epi32(right, magnitude));
  }
  const uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(most[0], most[1]));
  const bool finite = bits < 0x7f800000u;
  const float peak =
      _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits))));
  const bool is_zero = !finite || peak < kLeastInt8Peak;
  const __m512 factor = _mm512_set1_ps(is_zero ? 0.0f : 127.0f / peak);
  const __m512i zero = _mm512_set1_epi32(kInt8ZeroPoint);
  for (size_t i = 0; i < n; i += 16) {
    const __m512 x = _mm512_castsi512_ps(LoadBits(row + i, n - i));
    const __m512i rounded = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x, factor)), zero);
    _mm512_mask_cvtepi32_storeu_epi8(out + i, First(n - i), rounded);
  }
  if (!finite) return __builtin_nanf("");
  return is_zero ? 0.0f : peak / 127.0f;
}

}  // namespace

float RoundRowAvx512(const void* row, DType dtype, size_t n, uint8_t* out) {
  return dtype == DType::kF32 ? RoundRowOf(static_cast<const float*>(row), n, out)
                              : RoundRowOf(static_cast<const uint16_t*>(row), n, out);
}

}  // namespace precis
