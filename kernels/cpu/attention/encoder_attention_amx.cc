// Encoder attention by AMX tiles. Compiled with flags of its own: see attention_bf16-inl.h.
#include "kernels/cpu/attention/attention_bf16-inl.h"

namespace precis {
namespace {

constexpr size_t kBlockRows = kEncoderBlockRows;
constexpr size_t kChunk = kEncoderChunkKeys;
static_assert(kBlockRows == 32 && kChunk % 32 == 0);
constexpr size_t kProbabilityStride = 2 * kChunk;

struct AmxScratch {
  AmxScratch(float* base, size_t head_dim)
      : dim(Pad32(head_dim)),
        out(base),
        scores(out + kEncoderQueryRows * dim),
        max(scores + kBlockRows * kChunk),
        sum(max + kEncoderQueryRows),
        p(reinterpret_cast<uint16_t*>(scores)),
        q(reinterpret_cast<uint16_t*>(sum + kEncoderQueryRows)) {}
  size_t dim;     // head_dim, padded
  float* out;     // [kEncoderQueryRows, dim], not yet divided
  float* scores;  // [kBlockRows, kChunk]
  float* max;     // [kEncoderQueryRows], of the scores so far
  float* sum;     // [kEncoderQueryRows], of exp(score - max)
  uint16_t* p;    // [kBlockRows, kChunk] in the place of the scores, kProbabilityStride apart
  uint16_t* q;    // [kEncoderQueryRows, dim]
};

// Palette 1; all eight tiles are 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
alignas(64) constexpr TileConfig kTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// The intrinsics for loads do not tell the compiler which memory they read.
inline void MemoryBarrier() { __asm__ volatile("" ::: "memory"); }

// c[32, 32] = a[32, depth] * panel, or += when `add`; depth is a multiple of 32.
inline void Multiply(const uint16_t* a, size_t a_stride, const uint16_t* panel, size_t depth,
                     bool add, float* c, size_t c_stride) {
  const size_t a_bytes = a_stride * sizeof(uint16_t);
  const size_t c_bytes = c_stride * sizeof(float);
  constexpr size_t kPanelBytes = 2 * kPanel * sizeof(uint16_t);
  float* c2 = c + 16 * c_stride;
  MemoryBarrier();
  if (add) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + 16, c_bytes);
    _tile_loadd(2, c2, c_bytes);
    _tile_loadd(3, c2 + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (size_t k = 0; k < depth; k += 32) {
    _tile_loadd(4, a + k, a_bytes);
    _tile_loadd(6, panel + k * kPanel, kPanelBytes);
    _tile_loadd(7, panel + k * kPanel + 32, kPanelBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, a + 16 * a_stride + k, a_bytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16, c_bytes);
  _tile_stored(2, c2, c_bytes);
  _tile_stored(3, c2 + 16, c_bytes);
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
inline void SoftmaxBlock(const AmxScratch& s, size_t begin, size_t rows, size_t num_keys,
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

using SoftmaxFunction = void (*)(const AmxScratch&, size_t, size_t, size_t, const float*, float*);
constexpr SoftmaxFunction kSoftmax[kChunk / 32] = {
    SoftmaxBlock<1>, SoftmaxBlock<2>, SoftmaxBlock<3>, SoftmaxBlock<4>,
    SoftmaxBlock<5>, SoftmaxBlock<6>, SoftmaxBlock<7>, SoftmaxBlock<8>};

inline void ScaleRow(float* row, size_t n, float factor) {
  for (size_t i = 0; i < n; i += 16) {
    _mm512_storeu_ps(row + i, _mm512_mul_ps(_mm512_loadu_ps(row + i), _mm512_set1_ps(factor)));
  }
}

// Rows begin .. begin + rows - 1 of the item against the chunk of keys from first_key on.
// first_bias: of the item's row 0 and the chunk's key 0; a row further, one element before.
inline void AttendBlock(size_t begin, size_t rows, size_t first_key, size_t num_keys,
                        const float* first_bias, const Panels& panels, const AmxScratch& s) {
  const size_t keys = Pad32(num_keys);
  const bool first_chunk = first_key == 0;
  for (size_t key = 0; key < keys; key += kPanel) {
    Multiply(s.q + begin * s.dim, s.dim, panels.k + (first_key + key) * s.dim, s.dim, false,
             s.scores + key, kChunk);
  }
  alignas(64) float factors[kBlockRows];
  kSoftmax[keys / 32 - 1](s, begin, rows, num_keys, first_bias, factors);
  for (size_t i = 0; i < rows && !first_chunk; ++i) {
    ScaleRow(s.out + (begin + i) * s.dim, s.dim, factors[i]);
  }
  for (size_t d = 0; d < s.dim; d += kPanel) {
    Multiply(s.p, kProbabilityStride, panels.v + d * panels.keys + first_key * kPanel, keys,
             !first_chunk, s.out + begin * s.dim + d, s.dim);
  }
}

inline void Attend(const EncoderAttentionParams& p, size_t head, size_t first, size_t rows,
                   float* scratch) {
  const AmxScratch s(scratch, p.head_dim);
  const Panels panels(p, head);
  const size_t first_query = p.begin + first;
  PackQueries(p, p.q + first_query * p.row_stride + head * p.head_dim, rows, s.dim, s.q);
  for (size_t i = 0; i < Pad32(rows); ++i) {
    s.max[i] = kLowest;
    s.sum[i] = 0.0f;
  }
  for (size_t begin = 0; begin < p.num_keys; begin += kChunk) {
    const size_t num_keys = p.num_keys - begin < kChunk ? p.num_keys - begin : kChunk;
    const float* bias = p.bias.data == nullptr ? nullptr
                                               : p.bias.data + head * p.bias.stride + p.bias.zero +
                                                     begin - first_query;
    for (size_t i = 0; i < rows; i += kBlockRows) {
      AttendBlock(i, rows - i < kBlockRows ? rows - i : kBlockRows, begin, num_keys, bias, panels,
                  s);
    }
  }
  StoreRows(p, head, first, rows, s.out, s.dim, s.sum);
}

}  // namespace

void EncoderAttentionAmx(const EncoderAttentionParams& params, size_t head, size_t first,
                         size_t rows, float* scratch) {
  _tile_loadconfig(&kTiles);  // oneDNN's kernels load theirs
  Attend(params, head, first, rows, scratch);
  _tile_release();
}

}  // namespace precis
