// Encoder attention on bf16 products, for an instruction set that has them: what its kernels share.
// K and V of a document's layer become panels of bf16 once, for all query rows of all calls.
//
// Included by one source for each such instruction set. All is in an unnamed namespace and calls
// nothing inline of ours or of the standard library: those sources are compiled with flags of their
// own, and the linker may keep any one copy of a shared inline function. Thread rule: pure but for
// outputs and scratch.
//
// A panel holds a matrix [depth, 32] as [depth / 2, 32, 2]: pairs along the depth side by side, as
// the products of both instruction sets want them.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa/kernels.h"

namespace precis {
namespace {

constexpr size_t kPanel = 32;  // columns of a panel
static_assert(kEncoderQueryRows % 32 == 0);
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLowest = -3.402823466e38f;

constexpr size_t Pad32(size_t n) { return (n + 31) / 32 * 32; }

// One head's K and V in EncoderAttentionParams::packed; see EncoderPackedBytes.
struct Panels {
  Panels(const EncoderAttentionParams& p, size_t head)
      : dim(Pad32(p.head_dim)),
        keys(Pad32(p.num_keys)),
        k(reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(p.packed) + 63) / 64 * 64) +
          2 * head * dim * keys),
        v(k + dim * keys) {}
  size_t dim;   // head_dim, padded
  size_t keys;  // num_keys, padded
  uint16_t* k;  // panels of [dim, 32 keys]
  uint16_t* v;  // panels of [keys, 32 dimensions]
};

// The first `count` of 16 lanes.
inline __mmask16 First(size_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
}

inline __m512 LoadFirst(const float* from, size_t count) {
  return _mm512_maskz_loadu_ps(First(count), from);
}

inline size_t Less(size_t a, size_t b) { return a > b ? a - b : 0; }

// 32 floats of a row as bf16; those from `count` on are zeros.
inline __m512i RowBf16(const float* from, size_t count) {
  return (__m512i)_mm512_cvtne2ps_pbh(LoadFirst(from + 16, Less(count, 16)),
                                      LoadFirst(from, count));
}

// to[i] = column i of the 16 x 16 matrix of 32-bit elements whose rows are r.
inline void Transpose(const __m512i* r, __m512i* to) {
  __m512i t[16];
  __m512i u[16];
#pragma GCC unroll 8
  for (size_t i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Lane l of u[4 i + j]: rows 4 i .. 4 i + 3 of column 4 l + j.
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x44);
    const __m512i b = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x44);
    const __m512i c = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xee);
    const __m512i d = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xee);
    to[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    to[4 + j] = _mm512_shuffle_i32x4(a, b, 0xdd);
    to[8 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
    to[12 + j] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
}

// 16 keys by 32 dimensions of a panel of K; keys from num_keys, dimensions from `dims` on are
// zeros.
inline void PackKeyBlock(const float* keys, size_t stride, size_t num_keys, size_t dims,
                         uint16_t* to) {
  __m512i rows[16];
  __m512i columns[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) {
    rows[i] = i < num_keys ? RowBf16(keys + i * stride, dims) : _mm512_setzero_si512();
  }
  Transpose(rows, columns);
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * 2 * kPanel, columns[i]);
}

// Panels of [dim, 32 keys]; keys past num_keys up to a whole panel are zeros.
inline void PackKeys(const float* keys, size_t stride, size_t num_keys, size_t head_dim, size_t dim,
                     uint16_t* to) {
  for (size_t key = 0; key < Pad32(num_keys); key += 16) {
    uint16_t* panel = to + key / kPanel * kPanel * dim + key % kPanel * 2;
    for (size_t d = 0; d < dim; d += 32) {
      PackKeyBlock(keys + key * stride + d, stride, Less(num_keys, key), head_dim - d,
                   panel + d * kPanel);
    }
  }
}

// 16 columns of two rows of floats as 16 pairs of bf16.
inline __m512i Pairs(const float* a, const float* b, size_t count_a, size_t count_b) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512bh ab = _mm512_cvtne2ps_pbh(LoadFirst(b, count_b), LoadFirst(a, count_a));
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), (__m512i)ab);
}

// Some keys of panels of [keys, 32 dimensions]; those past num_keys up to a multiple of 32 are
// zeros.
inline void PackValues(const float* values, size_t stride, size_t num_keys, size_t head_dim,
                       size_t dim, size_t keys, uint16_t* to) {
  for (size_t key = 0; key < Pad32(num_keys); key += 2) {
    const float* row = values + key * stride;
    for (size_t d = 0; d < dim; d += 16) {
      const size_t dims = Less(head_dim, d);
      uint16_t* pairs = to + (d / kPanel * keys + key) * kPanel + d % kPanel * 2;
      _mm512_storeu_si512(pairs, Pairs(row + d, row + stride + d, key < num_keys ? dims : 0,
                                       key + 1 < num_keys ? dims : 0));
    }
  }
}

// 2^t for t <= 0, within 1e-4 of itself, which is below what bf16 keeps; never less than 2^-120,
// since subnormal results are slow. 2^floor(t) by scaling, 2^(t - floor(t)) by a minimax
// polynomial.
inline __m512 Exp2(__m512 t) {
  t = _mm512_max_ps(_mm512_set1_ps(-120.0f), t);  // in this order NaN stays NaN
  const __m512 r = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 y = _mm512_fmadd_ps(r, _mm512_set1_ps(0.07802452266443254f),
                             _mm512_set1_ps(0.22606715539312935f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.6958335405064481f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.99992521856401f));
  return _mm512_scalef_ps(y, t);
}

// to: [rows, padded to 32; dim].
inline void PackQueries(const EncoderAttentionParams& p, const float* from, size_t rows, size_t dim,
                        uint16_t* to) {
  for (size_t i = 0; i < Pad32(rows); ++i) {
    for (size_t d = 0; d < dim; d += 32) {
      _mm512_storeu_si512(
          to + i * dim + d,
          i < rows ? RowBf16(from + i * p.row_stride + d, p.head_dim - d) : _mm512_setzero_si512());
    }
  }
}

// Rows of one head, divided by their sums. values: [rows, dim].
inline void StoreRows(const EncoderAttentionParams& p, size_t head, size_t first, size_t rows,
                      const float* values, size_t dim, const float* sums) {
  uint16_t* out = static_cast<uint16_t*>(p.out.data) + first * p.out.cols + head * p.head_dim;
  for (size_t i = 0; i < rows; ++i, out += p.out.cols) {
    const __m512 factor = _mm512_set1_ps(1.0f / sums[i]);
    for (size_t d = 0; d < p.head_dim; d += 16) {
      const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(values + i * dim + d), factor);
      _mm256_mask_storeu_epi16(out + d, First(p.head_dim - d), (__m256i)_mm512_cvtneps_pbh(v));
    }
  }
}

}  // namespace
}  // namespace precis
