// Paged attention's products by AVX512-VNNI, which multiplies unsigned bytes by signed ones and
// sums four of them exactly. A query, and its probabilities times the scales of their values,
// become integers of 16 bits with one scale each, in two bytes: far finer than the 8 bits of the
// pages.
//
// Compiled with flags of its own: all is in an unnamed namespace and calls nothing inline of ours
// or of the standard library (see attention_bf16-inl.h).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention/paged_products_avx512-inl.h"

namespace precis {
namespace {

constexpr size_t kQuarter = kLanes / 4;  // words that hold a byte of 16 values
constexpr float kLargest = 32512.0f;     // 127 * 256: either byte then fits its type
constexpr float kLeast = 1e-30f;         // what is all below it is zero

// The low byte of each lane, 16 of them as four words.
inline void StoreBytes(float* to, __m512i lanes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(lanes));
}

// Largest magnitude of n values; NaN where one is not finite.
inline float Peak(const float* values, size_t n) {
  __m512 peak = _mm512_setzero_ps();
  __m512 not_finite = _mm512_setzero_ps();  // x * 0 is NaN of what is not finite
  for (size_t i = 0; i < n; i += kLanes) {
    const __m512 x = _mm512_maskz_loadu_ps(First(n - i), values + i);
    peak = _mm512_max_ps(peak, _mm512_abs_ps(x));
    not_finite = _mm512_fmadd_ps(x, _mm512_setzero_ps(), not_finite);
  }
  return _mm512_reduce_max_ps(peak) + _mm512_reduce_add_ps(not_finite);
}

struct Scale {
  float to_integer;    // 0 of what is zero or not finite
  float from_integer;  // NaN of what is not finite
};

inline Scale ScaleOf(float peak) {
  if (peak != peak) return {0.0f, peak};
  if (peak < kLeast) return {0.0f, 0.0f};
  return {kLargest / peak, peak / kLargest};
}

// Not finite values become zeros: their factor is 0, and NaN is not below anything.
inline __m512i Round(__m512 x, float factor) {
  const __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(factor));
  const __mmask16 finite = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
  return _mm512_maskz_cvtps_epi32(finite, scaled);
}

// Where a query keeps what belongs to it, after its [dim / 2] words: high bytes, then low ones.
struct QueryTail {
  float scale;
  int32_t start_high;  // -128 times the sum of its bytes: keys are bytes with 128 added
  int32_t start_low;
};

void LoadQuery(const float* q, size_t head_dim, float* out) {
  const size_t dim = (head_dim + kLanes - 1) / kLanes * kLanes;
  const Scale scale = ScaleOf(Peak(q, head_dim));
  __m512i sum_high = _mm512_setzero_si512();
  __m512i sum_low = _mm512_setzero_si512();
  for (size_t i = 0; i < dim; i += kLanes) {
    const __m512i x = Round(_mm512_maskz_loadu_ps(First(head_dim - i), q + i), scale.to_integer);
    // x = 256 * high + low, either a signed byte.
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(x, _mm512_slli_epi32(high, 8));
    StoreBytes(out + i / 4, high);
    StoreBytes(out + dim / 4 + i / 4, low);
    sum_high = _mm512_add_epi32(sum_high, high);
    sum_low = _mm512_add_epi32(sum_low, low);
  }
  const QueryTail tail = {scale.from_integer, -128 * _mm512_reduce_add_epi32(sum_high),
                          -128 * _mm512_reduce_add_epi32(sum_low)};
  __builtin_memcpy(out + dim / 2, &tail, sizeof(tail));
}

template <size_t kRows>
inline void ScoreTile(const PageRun& run, const Part& part, size_t slot, const float* q, size_t dim,
                      float* scores) {
  const uint32_t* k = part.words + slot;
  const size_t words = (run.head_dim + 3) / 4;
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(-128));
  __m512i high[kRows];
  __m512i low[kRows];
  float scale[kRows];
#pragma GCC unroll 8
  for (size_t i = 0; i < kRows; ++i) {
    QueryTail tail;
    __builtin_memcpy(&tail, q + i * dim + dim / 2, sizeof(tail));
    high[i] = _mm512_set1_epi32(tail.start_high);
    low[i] = _mm512_set1_epi32(tail.start_low);
    scale[i] = tail.scale;
  }
  for (size_t word = 0; word < words; ++word, k += run.slots) {
    const __m512i bytes = _mm512_xor_si512(_mm512_loadu_si512(k), offset);
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      high[i] = _mm512_dpbusd_epi32(high[i], bytes, Broadcast(q + i * dim + word));
      low[i] = _mm512_dpbusd_epi32(low[i], bytes, Broadcast(q + i * dim + dim / 4 + word));
    }
  }
  const __m512 key_scales = _mm512_loadu_ps(part.scales + slot);
#pragma GCC unroll 8
  for (size_t i = 0; i < kRows; ++i) {
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[i], 8), low[i]));
    _mm512_storeu_ps(scores + i * kScoreStride,
                     _mm512_mul_ps(_mm512_mul_ps(sum, _mm512_set1_ps(scale[i])), key_scales));
  }
}

// p *= scales; the largest of them, NaN where one is not finite.
inline float ScalePeak(float* p, size_t n, const float* scales) {
  __m512 peak = _mm512_setzero_ps();
  __m512 not_finite = _mm512_setzero_ps();  // as in Peak
  for (size_t i = 0; i < n; i += kLanes) {
    const __m512 x =
        _mm512_maskz_mul_ps(First(n - i), _mm512_loadu_ps(p + i), _mm512_loadu_ps(scales + i));
    _mm512_storeu_ps(p + i, x);
    peak = _mm512_max_ps(peak, x);
    not_finite = _mm512_fmadd_ps(x, _mm512_setzero_ps(), not_finite);
  }
  return _mm512_reduce_max_ps(peak) + _mm512_reduce_add_ps(not_finite);
}

// In place: of 16 keys each four words of high bytes, then four of low ones. Sums of 512 such
// weights times 127 stay below 2^31.
void WeighProbabilities(float* p, size_t n, const float* scales, float* factor) {
  static_assert(kPagedChunkKeys * 32512ull * 127 < 1ull << 31);
  const Scale scale = ScaleOf(ScalePeak(p, n, scales));
  for (size_t i = 0; i < n; i += kLanes) {
    const __m512i x = Round(_mm512_loadu_ps(p + i), scale.to_integer);
    StoreBytes(p + i, _mm512_srli_epi32(x, 8));
    StoreBytes(p + i + kQuarter, x);
  }
  *factor = scale.from_integer;
}

// Sums of kRows queries by kVectors vectors of dimensions.
template <size_t kRows, size_t kVectors>
struct Sums {
  __m512i high[kRows][kVectors];
  __m512i low[kRows][kVectors];
};

// Adds the words of a part. Bytes of slots that a query does not see meet weights of zero.
template <size_t kRows, size_t kVectors>
inline void AddPart(const Part& part, size_t column, size_t head_dim, const float* p, size_t word,
                    Sums<kRows, kVectors>& sums) {
  const uint32_t* v = part.words + part.first / 4 * head_dim + column;
  const size_t words = (part.count + 3) / 4;
  for (size_t w = 0; w < words; ++w, v += head_dim, ++word) {
    __m512i bytes[kVectors];
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) bytes[j] = _mm512_loadu_si512(v + j * kLanes);
    const float* weights = p + word / kQuarter * kLanes + word % kQuarter;
#pragma GCC unroll 4
    for (size_t i = 0; i < kRows; ++i, weights += kScoreStride) {
      const __m512i upper = Broadcast(weights);
      const __m512i lower = Broadcast(weights + kQuarter);
#pragma GCC unroll 4
      for (size_t j = 0; j < kVectors; ++j) {
        sums.high[i][j] = _mm512_dpbusd_epi32(sums.high[i][j], upper, bytes[j]);
        sums.low[i][j] = _mm512_dpbusd_epi32(sums.low[i][j], lower, bytes[j]);
      }
    }
  }
}

template <size_t kRows, size_t kVectors>
inline void ValueTile(const PageRun& run, size_t column, const float* p, size_t key, float* out,
                      size_t dim) {
  Sums<kRows, kVectors> sums;
  out += column;
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) {
      sums.high[i][j] = _mm512_setzero_si512();
      sums.low[i][j] = _mm512_loadu_si512(out + i * dim + j * kLanes);
    }
  }
  for (size_t page = 0, done = 0; done < run.count; ++page) {
    const Part part = PartOf(run, page, done);
    AddPart(part, column, run.head_dim, p, (key + done) / 4, sums);
    done += part.count;
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) {
      _mm512_storeu_si512(out + i * dim + j * kLanes,
                          _mm512_add_epi32(sums.low[i][j], _mm512_slli_epi32(sums.high[i][j], 8)));
    }
  }
}

void AddValues(const PageRun& values, const float* p, size_t key, size_t queries, float* out,
               size_t dim) {
  for (; queries >= 2; queries -= 2, p += 2 * kScoreStride, out += 2 * dim) {
    ValueRows<2>(values, p, key, out, dim);
  }
  if (queries == 1) ValueRows<1>(values, p, key, out, dim);
}

void Finish(float factor, size_t head_dim, float* out) {
  for (size_t i = 0; i < head_dim; i += kLanes) {
    const __m512 sums = _mm512_cvtepi32_ps(_mm512_loadu_si512(out + i));
    _mm512_storeu_ps(out + i, _mm512_mul_ps(sums, _mm512_set1_ps(factor)));
  }
}

}  // namespace

const PagedProducts kPagedAvx512Vnni = {LoadQuery, ScoreKeys, WeighProbabilities, AddValues,
                                        Finish};

}  // namespace precis
