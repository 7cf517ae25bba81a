// Paged attention's products by AVX512-BF16. Queries and probabilities are two bf16 each, the
// second what the first has rounded away, so that they keep 16 bits; pages have bf16 as they are.
//
// Compiled with flags of its own: all is in an unnamed namespace and calls nothing inline of ours
// or of the standard library (see attention_bf16-inl.h).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention/paged_products_avx512-inl.h"

namespace precis {
namespace {

// Words of 16 keys' probabilities take the place of these: eight words, and as many of the rest.
constexpr size_t kHalf = kLanes / 2;

constexpr size_t kLineBytes = 64;

inline __m512bh BroadcastPair(const float* pair) { return (__m512bh)Broadcast(pair); }

inline void StoreHalf(float* to, __m256bh pairs) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)pairs);
}

// 16 floats as eight words of bf16, and what these lack as eight words.
inline void Split(__m512 x, float* high, float* low) {
  const __m256bh rounded = _mm512_cvtneps_pbh(x);
  const __m512 taken =
      _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)rounded), 16));
  StoreHalf(high, rounded);
  StoreHalf(low, _mm512_cvtneps_pbh(_mm512_sub_ps(x, taken)));
}

// [dim / 2] words and as many of the rest; dimensions past head_dim are zeros.
void LoadQuery(const float* q, size_t head_dim, float* out) {
  const size_t dim = (head_dim + kLanes - 1) / kLanes * kLanes;
  for (size_t i = 0; i < dim; i += kLanes) {
    Split(_mm512_maskz_loadu_ps(First(head_dim - i), q + i), out + i / 2, out + dim / 2 + i / 2);
  }
}

// Asks for the next line of what is ahead, if there is more of it, into L2.
inline const std::byte* AskLine(const std::byte* ahead, const std::byte* end) {
  if (ahead >= end) return ahead;
  _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
  return ahead + kLineBytes;
}

// Sums of the words w mod 2, those of the queries' rests apart: a single sum would wait for itself.
template <size_t kRows>
inline void ScoreTile(const PageRun& run, const Part& part, size_t slot, const float* q, size_t dim,
                      float* scores) {
  const uint32_t* k = part.words + slot;
  const size_t words = (run.head_dim + 1) / 2;
  const std::byte* ahead = run.ahead.begin + slot / kLanes * words * kLineBytes;
  __m512 high[kRows][2];
  __m512 low[kRows][2];
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
    high[i][0] = high[i][1] = low[i][0] = low[i][1] = _mm512_setzero_ps();
  }
  // An odd number of words has a last query word of zeros, but no key of its own to multiply with.
  for (size_t word = 0; word < words; word += 2, k += 2 * run.slots) {
    const __m512bh even = (__m512bh)_mm512_loadu_si512(k);
    const __m512bh odd = (__m512bh)_mm512_loadu_si512(word + 1 < words ? k + run.slots : k);
    ahead = AskLine(AskLine(ahead, run.ahead.end), run.ahead.end);
#pragma GCC unroll 4
    for (size_t i = 0; i < kRows; ++i) {
      const float* pair = q + i * dim + word;
      high[i][0] = _mm512_dpbf16_ps(high[i][0], even, BroadcastPair(pair));
      high[i][1] = _mm512_dpbf16_ps(high[i][1], odd, BroadcastPair(pair + 1));
      low[i][0] = _mm512_dpbf16_ps(low[i][0], even, BroadcastPair(pair + dim / 2));
      low[i][1] = _mm512_dpbf16_ps(low[i][1], odd, BroadcastPair(pair + dim / 2 + 1));
    }
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
    const __m512 sum =
        _mm512_add_ps(_mm512_add_ps(high[i][0], high[i][1]), _mm512_add_ps(low[i][0], low[i][1]));
    _mm512_storeu_ps(scores + i * kScoreStride, sum);
  }
}

// In place: of 16 keys each eight words, then eight of the rests.
void RoundProbabilities(float* p, size_t n, const float* /*scales*/, float* /*factor*/) {
  for (size_t i = 0; i < n; i += kLanes) Split(_mm512_loadu_ps(p + i), p + i, p + i + kHalf);
}

// Adds the words of a part to the sums of kRows queries by kVectors vectors of dimensions.
template <size_t kRows, size_t kVectors>
inline void AddPart(const PageRun& run, const Part& part, size_t column, const float* p,
                    size_t word, __m512 (&sums)[kRows][kVectors]) {
  const size_t head_dim = run.head_dim;
  const uint32_t* v = part.words + part.first / 2 * head_dim + column;
  const size_t words = (part.count + 1) / 2;
  const std::byte* ahead = run.ahead.begin + column / kLanes * words * kLineBytes;
  for (size_t w = 0; w < words; ++w, v += head_dim, ++word) {
    // The last slot of an odd number is alone in its word: what lies beside it may be NaN.
    const __m512i mask = _mm512_set1_epi32(2 * w + 2 <= part.count ? -1 : 0xffff);
    __m512bh pairs[kVectors];
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) {
      pairs[j] = (__m512bh)_mm512_and_si512(_mm512_loadu_si512(v + j * kLanes), mask);
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) ahead = AskLine(ahead, run.ahead.end);
    const float* weights = p + word / kHalf * kLanes + word % kHalf;
#pragma GCC unroll 4
    for (size_t i = 0; i < kRows; ++i, weights += kScoreStride) {
      const __m512bh high = BroadcastPair(weights);
      const __m512bh low = BroadcastPair(weights + kHalf);
#pragma GCC unroll 4
      for (size_t j = 0; j < kVectors; ++j) {
        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pairs[j], high);
        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pairs[j], low);
      }
    }
  }
}

template <size_t kRows, size_t kVectors>
inline void ValueTile(const PageRun& run, size_t column, const float* p, size_t key, float* out,
                      size_t dim) {
  __m512 sums[kRows][kVectors];
  out += column;
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) sums[i][j] = _mm512_loadu_ps(out + i * dim + j * kLanes);
  }
  for (size_t page = 0, done = 0; done < run.count; ++page) {
    const Part part = PartOf(run, page, done);
    AddPart(run, part, column, p, (key + done) / 2, sums);
    done += part.count;
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) _mm512_storeu_ps(out + i * dim + j * kLanes, sums[i][j]);
  }
}

void AddValues(const PageRun& values, const float* p, size_t key, size_t queries, float* out,
               size_t dim) {
  for (; queries >= 4; queries -= 4, p += 4 * kScoreStride, out += 4 * dim) {
    ValueRows<4>(values, p, key, out, dim);
  }
  if (queries == 3) ValueRows<3>(values, p, key, out, dim);
  if (queries == 2) ValueRows<2>(values, p, key, out, dim);
  if (queries == 1) ValueRows<1>(values, p, key, out, dim);
}

// With one query there is no time between products, with more than a tile's they take longer than
// reading.
bool Asks(size_t queries) { return 2 <= queries && queries <= 4; }

}  // namespace

const PagedProducts kPagedAvx512Bf16 = {LoadQuery, ScoreKeys, RoundProbabilities,
                                        AddValues, nullptr,   Asks};

}  // namespace precis
