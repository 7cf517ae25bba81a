// Encoder attention by AVX512-BF16: eight query rows at a time, whose scores and probabilities of a
// chunk of keys stay in the first-level cache while panels stream by. Compiled with flags of its
// own: see attention_bf16-inl.h.
#include "kernels/cpu/attention/attention_bf16-inl.h"

// A tile has a function of its own: inlined side by side, two of them make GCC 12 run out of
// registers and read the panel's vectors back from the stack for each row, which takes twice as
// long.
#define PRECIS_OWN_FUNCTION __attribute__((noinline))

namespace precis {
namespace {

// Two bf16 of a row, read as one element.
typedef int32_t __attribute__((may_alias)) Pair;

constexpr size_t kRows = 8;  // 16 accumulators, with two vectors of a panel
// The chunks' places are absolute, so that rows have the same bits in every call.
constexpr size_t kChunk = 512;
static_assert(kEncoderQueryRows % kRows == 0 && kChunk % kPanel == 0);

struct Avx512Scratch {
  Avx512Scratch(float* base, size_t head_dim)
      : dim(Pad32(head_dim)),
        scores(base),
        max(scores + kRows * kChunk),
        out(max + kRows * 16),
        row_max(out + kEncoderQueryRows * dim),
        sum(row_max + kEncoderQueryRows),
        p(reinterpret_cast<uint16_t*>(scores)),
        q(reinterpret_cast<uint16_t*>(sum + kEncoderQueryRows)) {}
  size_t dim;      // head_dim, padded
  float* scores;   // [kRows, kChunk]
  float* max;      // [kRows, 16], of the chunk's scores
  float* out;      // [kEncoderQueryRows, dim], not yet divided
  float* row_max;  // [kEncoderQueryRows], of the scores so far
  float* sum;      // [kEncoderQueryRows], of exp(score - row_max)
  uint16_t* p;     // [kRows, kChunk] in the place of the scores, 2 * kChunk apart
  uint16_t* q;     // [kEncoderQueryRows, dim]
};

// A chunk of one head's keys.
struct Chunk {
  const uint16_t* k;  // panels of [dim, 32 keys]
  const uint16_t* v;  // panels of [keys, 32 dimensions], v_stride apart
  size_t v_stride;
  size_t num_keys;
  bool is_first;
};

// acc += a[8, depth] * panel; depth is even.
inline void Multiply(const uint16_t* a, size_t a_stride, const uint16_t* panel, size_t depth,
                     __m512 (&acc)[kRows][2]) {
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
}

// Scores of eight rows, which begin with the bias (null: none) of each, and their maxima. Keys past
// the last get the lowest score, up to a whole panel.
PRECIS_OWN_FUNCTION void Scores(const Avx512Scratch& s, const uint16_t* q, const float* const* bias,
                                const Chunk& c) {
  for (size_t i = 0; i < kRows; ++i) _mm512_storeu_ps(s.max + 16 * i, _mm512_set1_ps(kLowest));
  for (size_t key = 0; key < c.num_keys; key += kPanel) {
    const __mmask16 mask[2] = {First(c.num_keys - key), First(Less(c.num_keys, key + 16))};
    __m512 acc[kRows][2];
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      acc[i][0] =
          bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask[0], bias[i] + key);
      acc[i][1] = bias == nullptr ? _mm512_setzero_ps()
                                  : _mm512_maskz_loadu_ps(mask[1], bias[i] + key + 16);
    }
    Multiply(q, s.dim, c.k + key * s.dim, s.dim, acc);
    if (c.num_keys - key < kPanel) {
      const __m512 lowest = _mm512_set1_ps(kLowest);
#pragma GCC unroll 8
      for (size_t i = 0; i < kRows; ++i) {
        acc[i][0] = _mm512_mask_mov_ps(lowest, mask[0], acc[i][0]);
        acc[i][1] = _mm512_mask_mov_ps(lowest, mask[1], acc[i][1]);
      }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      _mm512_storeu_ps(s.scores + i * kChunk + key, acc[i][0]);
      _mm512_storeu_ps(s.scores + i * kChunk + key + 16, acc[i][1]);
      const __m512 most = _mm512_max_ps(acc[i][0], acc[i][1]);
      _mm512_storeu_ps(s.max + 16 * i, _mm512_max_ps(_mm512_loadu_ps(s.max + 16 * i), most));
    }
  }
}

// p = exp(score - max) as bf16, zeros from num_keys on up to a whole panel. Returns the sum.
PRECIS_OWN_FUNCTION float ExpRow(const float* scores, size_t num_keys, float max, uint16_t* p) {
  const __m512 log2e = _mm512_set1_ps(kLog2E);
  const __m512 shift = _mm512_set1_ps(max * kLog2E);
  __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (size_t i = 0; i < num_keys; i += 32) {
    __m512 e[2];
#pragma GCC unroll 2
    for (size_t j = 0; j < 2; ++j) {
      e[j] = Exp2(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i + 16 * j), log2e, shift));
      if (num_keys - i < 32) e[j] = _mm512_maskz_mov_ps(First(Less(num_keys, i + 16 * j)), e[j]);
      sum[j] = _mm512_add_ps(sum[j], e[j]);
    }
    _mm512_storeu_si512(p + i, (__m512i)_mm512_cvtne2ps_pbh(e[1], e[0]));
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

// The chunk's share of eight rows' results. factors: for what earlier chunks have summed up.
template <bool kFirstChunk>
PRECIS_OWN_FUNCTION void Results(const Avx512Scratch& s, const float* factors, const Chunk& c,
                                 float* out) {
  for (size_t d = 0; d < s.dim; d += kPanel, out += kPanel) {
    __m512 acc[kRows][2];
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      if (kFirstChunk) {
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
        continue;
      }
      const __m512 factor = _mm512_set1_ps(factors[i]);
      acc[i][0] = _mm512_mul_ps(_mm512_loadu_ps(out + i * s.dim), factor);
      acc[i][1] = _mm512_mul_ps(_mm512_loadu_ps(out + i * s.dim + 16), factor);
    }
    Multiply(s.p, 2 * kChunk, c.v + d * c.v_stride, Pad32(c.num_keys), acc);
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      _mm512_storeu_ps(out + i * s.dim, acc[i][0]);
      _mm512_storeu_ps(out + i * s.dim + 16, acc[i][1]);
    }
  }
}

// Rows begin .. begin + 7 of the item against a chunk of keys.
inline void AttendRows(const Avx512Scratch& s, size_t begin, const float* const* bias,
                       const Chunk& c) {
  Scores(s, s.q + begin * s.dim, bias, c);
  alignas(64) float factors[16] = {};
  float* max = s.row_max + begin;
  float* sum = s.sum + begin;
  for (size_t i = 0; i < kRows; ++i) {
    const float most = _mm512_reduce_max_ps(_mm512_loadu_ps(s.max + 16 * i));
    const float before = max[i];
    max[i] = most > before ? most : before;
    factors[i] = before - max[i];
  }
  _mm512_store_ps(factors, Exp2(_mm512_mul_ps(_mm512_load_ps(factors), _mm512_set1_ps(kLog2E))));
  for (size_t i = 0; i < kRows; ++i) {
    const float more = ExpRow(s.scores + i * kChunk, c.num_keys, max[i], s.p + i * 2 * kChunk);
    sum[i] = sum[i] * factors[i] + more;
  }
  float* out = s.out + begin * s.dim;
  if (c.is_first) {
    Results<true>(s, factors, c, out);
  } else {
    Results<false>(s, factors, c, out);
  }
}

}  // namespace

void PackEncoderKeysAvx512Bf16(const EncoderAttentionParams& p, size_t first) {
  const size_t num_keys =
      p.num_keys - first < kEncoderPackedKeys ? p.num_keys - first : kEncoderPackedKeys;
  for (size_t head = 0; head < p.num_heads; ++head) {
    const Panels panels(p, head);
    const size_t from = first * p.row_stride + head * p.head_dim;
    PackKeys(p.k + from, p.row_stride, num_keys, p.head_dim, panels.dim,
             panels.k + first * panels.dim);
    PackValues(p.v + from, p.row_stride, num_keys, p.head_dim, panels.dim, panels.keys,
               panels.v + first * kPanel);
  }
}

void EncoderAttentionAvx512Bf16(const EncoderAttentionParams& p, size_t head, size_t first,
                                size_t rows, float* scratch) {
  const Avx512Scratch s(scratch, p.head_dim);
  const Panels panels(p, head);
  const size_t first_query = p.begin + first;
  PackQueries(p, p.q + first_query * p.row_stride + head * p.head_dim, rows, s.dim, s.q);
  for (size_t i = 0; i < Pad32(rows); ++i) {
    s.row_max[i] = kLowest;
    s.sum[i] = 0.0f;
  }
  for (size_t begin = 0; begin < p.num_keys; begin += kChunk) {
    const Chunk chunk = {panels.k + begin * s.dim, panels.v + begin * kPanel, panels.keys,
                         p.num_keys - begin < kChunk ? p.num_keys - begin : kChunk, begin == 0};
    for (size_t i = 0; i < rows; i += kRows) {
      // Rows that only fill up the eight have the last one's bias.
      const float* bias[kRows];
      for (size_t j = 0; p.bias.data != nullptr && j < kRows; ++j) {
        const size_t query = first_query + (i + j < rows ? i + j : rows - 1);
        bias[j] = p.bias.data + head * p.bias.stride + p.bias.zero + begin - query;
      }
      AttendRows(s, i, p.bias.data == nullptr ? nullptr : bias, chunk);
    }
  }
  StoreRows(p, head, first, rows, s.out, s.dim, s.sum);
}

}  // namespace precis
