// Encoder attention on bf16 products, for an instruction set that has them: K and V of a chunk of
// keys become panels of bf16 once for all query rows of the call; scores, softmax and sums are f32.
//
// Included by one source for each such instruction set, which gives the product as `Product`. All
// is in an unnamed namespace and calls nothing inline of ours or of the standard library: those
// sources are compiled with flags of their own, and the linker may keep any one copy of a shared
// inline function. Thread rule: pure but for outputs and scratch.
//
// A panel holds a matrix [depth, 32] as [depth / 2, 32, 2]: pairs along the depth side by side, as
// the products of both instruction sets want them.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace precis {
namespace {

constexpr size_t kPanel = 32;  // columns of a panel
constexpr size_t kBlockRows = kEncoderBlockRows;
constexpr size_t kChunk = kEncoderChunkKeys;
static_assert(kBlockRows == 32 && kEncoderQueryRows % 32 == 0 && kChunk % 32 == 0);
constexpr size_t kProbabilityStride = 2 * kChunk;
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLowest = -3.402823466e38f;

constexpr size_t Pad32(size_t n) { return (n + 31) / 32 * 32; }

struct Bf16Scratch {
  Bf16Scratch(float* base, size_t head_dim)
      : dim(Pad32(head_dim)),
        out(base),
        scores(out + kEncoderQueryRows * dim),
        max(scores + kBlockRows * kChunk),
        sum(max + kEncoderQueryRows),
        p(reinterpret_cast<uint16_t*>(scores)),
        q(reinterpret_cast<uint16_t*>(sum + kEncoderQueryRows)),
        k(q + kEncoderQueryRows * dim),
        v(k + kChunk * dim) {}
  size_t dim;     // head_dim, padded
  float* out;     // [kEncoderQueryRows, dim], not yet divided
  float* scores;  // [kBlockRows, kChunk]
  float* max;     // [kEncoderQueryRows], of the scores so far
  float* sum;     // [kEncoderQueryRows], of exp(score - max)
  uint16_t* p;    // [kBlockRows, kChunk] in the place of the scores, kProbabilityStride apart
  uint16_t* q;    // [kEncoderQueryRows, dim]
  uint16_t* k;    // panels of [dim, keys]
  uint16_t* v;    // panels of [keys, dim]
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

// Panels of [keys, 32 dimensions]; keys past num_keys up to a multiple of 32 are zeros.
inline void PackValues(const float* values, size_t stride, size_t num_keys, size_t head_dim,
                       size_t dim, uint16_t* to) {
  const size_t keys = Pad32(num_keys);
  for (size_t key = 0; key < keys; key += 2) {
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

// Adds `bias` (null: none) to a row's scores of a chunk; keys past num_keys get the lowest score.
// kPairs: num_keys / 32, rounded up. Returns the maximum of `max` and all scores.
template <size_t kPairs>
inline float BiasRow(float* scores, const float* bias, size_t num_keys, float max) {
  constexpr size_t kVectors = 2 * kPairs;
  // Two chains: one would be longer than what it waits for.
  __m512 most[2] = {_mm512_set1_ps(max), _mm512_set1_ps(max)};
#pragma GCC unroll 16
  for (size_t i = 0; i < kVectors; ++i) {
    __m512 s = _mm512_loadu_ps(scores + 16 * i);
    if (i + 2 < kVectors) {
      if (bias != nullptr) s = _mm512_add_ps(s, _mm512_loadu_ps(bias + 16 * i));
    } else {
      const __mmask16 mask = First(Less(num_keys, 16 * i));
      if (bias != nullptr) s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(mask, bias + 16 * i));
      s = _mm512_mask_mov_ps(_mm512_set1_ps(kLowest), mask, s);
    }
    _mm512_storeu_ps(scores + 16 * i, s);
    most[i % 2] = _mm512_max_ps(most[i % 2], s);
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
}

// p = exp(score - max) as bf16, zeros from num_keys on. Returns the sum.
template <size_t kPairs>
inline float ExpRow(const float* scores, size_t num_keys, float max, uint16_t* p) {
  constexpr size_t kVectors = 2 * kPairs;
  const __m512 log2e = _mm512_set1_ps(kLog2E);
  const __m512 shift = _mm512_set1_ps(max * kLog2E);
  __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; i += 2) {
    __m512 e[2];
#pragma GCC unroll 2
    for (size_t j = 0; j < 2; ++j) {
      e[j] = Exp2(_mm512_fmsub_ps(_mm512_loadu_ps(scores + 16 * (i + j)), log2e, shift));
      if (i + 2 == kVectors) {
        e[j] = _mm512_maskz_mov_ps(First(Less(num_keys, 16 * (i + j))), e[j]);
      }
      sum[j] = _mm512_add_ps(sum[j], e[j]);
    }
    _mm512_storeu_si512(p + 16 * i, (__m512i)_mm512_cvtne2ps_pbh(e[1], e[0]));
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

// Rows begin .. begin + rows - 1 of the item: scores of a chunk to probabilities, not yet divided.
// factors: for each of kBlockRows rows, that for what earlier chunks have summed up.
template <size_t kPairs>
inline void SoftmaxBlock(const Bf16Scratch& s, size_t begin, size_t rows, size_t num_keys,
                         const float* first_bias, float* factors) {
  float* max = s.max + begin;
  float* sum = s.sum + begin;
  alignas(64) float before[kBlockRows];
  for (size_t i = 0; i < kBlockRows; i += 16) _mm512_store_ps(before + i, _mm512_loadu_ps(max + i));
  for (size_t i = 0; i < rows; ++i) {
    const float* bias = first_bias == nullptr ? nullptr : first_bias - (begin + i);
    max[i] = BiasRow<kPairs>(s.scores + i * kChunk, bias, num_keys, max[i]);
  }
  for (size_t i = 0; i < kBlockRows; i += 16) {
    const __m512 step = _mm512_sub_ps(_mm512_load_ps(before + i), _mm512_loadu_ps(max + i));
    _mm512_storeu_ps(factors + i, Exp2(_mm512_mul_ps(step, _mm512_set1_ps(kLog2E))));
  }
  for (size_t i = 0; i < rows; ++i) {
    const float more =
        ExpRow<kPairs>(s.scores + i * kChunk, num_keys, max[i], s.p + i * kProbabilityStride);
    sum[i] = sum[i] * factors[i] + more;
  }
}

using SoftmaxFunction = void (*)(const Bf16Scratch&, size_t, size_t, size_t, const float*, float*);
constexpr SoftmaxFunction kSoftmax[kChunk / 32] = {
    SoftmaxBlock<1>, SoftmaxBlock<2>, SoftmaxBlock<3>, SoftmaxBlock<4>,
    SoftmaxBlock<5>, SoftmaxBlock<6>, SoftmaxBlock<7>, SoftmaxBlock<8>};

inline void ScaleRow(float* row, size_t n, float factor) {
  for (size_t i = 0; i < n; i += 16) {
    _mm512_storeu_ps(row + i, _mm512_mul_ps(_mm512_loadu_ps(row + i), _mm512_set1_ps(factor)));
  }
}

inline void PackQueries(const EncoderAttentionParams& p, const float* from, size_t rows,
                        const Bf16Scratch& s) {
  for (size_t i = 0; i < Pad32(rows); ++i) {
    for (size_t d = 0; d < s.dim; d += 32) {
      _mm512_storeu_si512(
          s.q + i * s.dim + d,
          i < rows ? RowBf16(from + i * p.row_stride + d, p.head_dim - d) : _mm512_setzero_si512());
    }
  }
}

// Rows begin .. begin + rows - 1 of the item against a packed chunk of keys. first_bias: of the
// item's row 0 and the chunk's key 0; a row further, one element before.
template <typename Product>
inline void AttendBlock(size_t begin, size_t rows, size_t num_keys, const float* first_bias,
                        bool first_chunk, const Bf16Scratch& s) {
  const size_t keys = Pad32(num_keys);
  for (size_t key = 0; key < keys; key += kPanel) {
    Product::Multiply(s.q + begin * s.dim, s.dim, s.k + key * s.dim, s.dim, false, s.scores + key,
                      kChunk);
  }
  alignas(64) float factors[kBlockRows];
  kSoftmax[keys / 32 - 1](s, begin, rows, num_keys, first_bias, factors);
  for (size_t i = 0; i < rows && !first_chunk; ++i) {
    ScaleRow(s.out + (begin + i) * s.dim, s.dim, factors[i]);
  }
  for (size_t d = 0; d < s.dim; d += kPanel) {
    Product::Multiply(s.p, kProbabilityStride, s.v + d * keys, keys, !first_chunk,
                      s.out + begin * s.dim + d, s.dim);
  }
}

inline void StoreRows(const EncoderAttentionParams& p, size_t head, size_t first, size_t rows,
                      const Bf16Scratch& s) {
  uint16_t* out = static_cast<uint16_t*>(p.out.data) + first * p.out.cols + head * p.head_dim;
  for (size_t i = 0; i < rows; ++i, out += p.out.cols) {
    const __m512 factor = _mm512_set1_ps(1.0f / s.sum[i]);
    for (size_t d = 0; d < p.head_dim; d += 16) {
      const __m512 values = _mm512_mul_ps(_mm512_loadu_ps(s.out + i * s.dim + d), factor);
      _mm256_mask_storeu_epi16(out + d, First(p.head_dim - d), (__m256i)_mm512_cvtneps_pbh(values));
    }
  }
}

// CpuKernels::encoder_attention_bf16.
template <typename Product>
inline void Attend(const EncoderAttentionParams& p, size_t head, size_t first, size_t rows,
                   float* scratch) {
  const Bf16Scratch s(scratch, p.head_dim);
  const size_t column = head * p.head_dim;
  const size_t first_query = p.begin + first;
  PackQueries(p, p.q + first_query * p.row_stride + column, rows, s);
  for (size_t i = 0; i < Pad32(rows); ++i) {
    s.max[i] = kLowest;
    s.sum[i] = 0.0f;
  }
  for (size_t begin = 0; begin < p.num_keys; begin += kChunk) {
    const size_t num_keys = p.num_keys - begin < kChunk ? p.num_keys - begin : kChunk;
    const size_t from = begin * p.row_stride + column;
    PackKeys(p.k + from, p.row_stride, num_keys, p.head_dim, s.dim, s.k);
    PackValues(p.v + from, p.row_stride, num_keys, p.head_dim, s.dim, s.v);
    const float* bias = p.bias.data == nullptr ? nullptr
                                               : p.bias.data + head * p.bias.stride + p.bias.zero +
                                                     begin - first_query;
    for (size_t i = 0; i < rows; i += kBlockRows) {
      AttendBlock<Product>(i, rows - i < kBlockRows ? rows - i : kBlockRows, num_keys, bias,
                           begin == 0, s);
    }
  }
  StoreRows(p, head, first, rows, s);
}

}  // namespace
}  // namespace precis
