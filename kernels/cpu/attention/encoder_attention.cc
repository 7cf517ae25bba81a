// Self-attention of the encoder: for one head and some query rows, over chunks of keys, with an
// online softmax. K is transposed a chunk at a time, so that a vector holds many keys; a chunk
// serves all rows, a few at a time, so that their scores stay in the first-level cache.
#include <cmath>

#include "kernels/cpu/isa/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention/encoder_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/attention/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

// Keys of one panel of transposed K: as wide as a tile.
HWY_INLINE size_t PanelKeys() { return kTileVectors * LanesF(); }

struct EncoderScratch {
  EncoderScratch(float* base, size_t head_dim)
      : dim(PadToLanes(head_dim)),
        q(base),
        k(q + kEncoderQueryRows * dim),
        v(k + kEncoderChunkKeys * dim),
        scores(v + kEncoderChunkKeys * dim),
        out(scores + kEncoderBlockRows * kEncoderChunkKeys) {}
  size_t dim;     // head_dim, padded
  float* q;       // [kEncoderQueryRows, dim]
  float* k;       // [panels, dim, PanelKeys()]
  float* v;       // [kEncoderChunkKeys, dim]
  float* scores;  // [kEncoderBlockRows, kEncoderChunkKeys]
  float* out;     // [kEncoderQueryRows, dim]
};

// Copies rows and pads their columns with zeros.
HWY_INLINE void CopyRows(const float* from, size_t stride, size_t rows, size_t columns, float* to,
                         size_t to_stride) {
  const size_t lanes = LanesF();
  for (size_t i = 0; i < rows; ++i, from += stride, to += to_stride) {
    size_t j = 0;
    for (; j + lanes <= columns; j += lanes) hn::StoreU(LoadF(from + j), DF(), to + j);
    for (; j < to_stride; ++j) to[j] = j < columns ? from[j] : 0.0f;
  }
}

HWY_INLINE void TransposeKeys(const float* keys, size_t stride, size_t num_keys, size_t head_dim,
                              float* to, size_t to_stride) {
  size_t key = 0;
  for (; key + 4 <= num_keys; key += 4) {
    const float* row = keys + key * stride;
    size_t i = 0;
    for (; i + 4 <= head_dim; i += 4) {
      Transpose4x4(row + i, stride, to + i * to_stride + key, to_stride);
    }
    for (; i < head_dim; ++i) {
      for (size_t j = 0; j < 4; ++j) to[i * to_stride + key + j] = row[j * stride + i];
    }
  }
  for (; key < num_keys; ++key) {
    for (size_t i = 0; i < head_dim; ++i) to[i * to_stride + key] = keys[key * stride + i];
  }
}

// Keys past num_keys in the last panel become zeros.
HWY_INLINE void PackKeys(const float* keys, size_t stride, size_t num_keys, size_t head_dim,
                         float* to) {
  const size_t width = PanelKeys();
  for (size_t key = 0; key < num_keys; key += width, to += head_dim * width) {
    const size_t count = num_keys - key < width ? num_keys - key : width;
    if (count < width) {
      for (size_t i = 0; i < head_dim * width; ++i) to[i] = 0.0f;
    }
    TransposeKeys(keys + key * stride, stride, count, head_dim, to, width);
  }
}

HWY_INLINE void ScaleRow(float* row, size_t n, float factor) {
  const DF d;
  for (size_t i = 0; i < n; i += LanesF()) {
    hn::StoreU(hn::Mul(LoadF(row + i), hn::Set(d, factor)), d, row + i);
  }
}

// Rows begin .. begin + rows - 1 of the item against a packed chunk of keys. first_bias: of the
// item's row 0 and the chunk's key 0; a row further, one element before.
HWY_INLINE void AttendBlock(size_t begin, size_t rows, size_t num_keys, size_t head_dim,
                            const float* first_bias, const EncoderScratch& s, Running* running) {
  const size_t width = PanelKeys();
  for (size_t key = 0; key < num_keys; key += width) {
    Multiply<false>(s.q + begin * s.dim, s.dim, s.k + key * head_dim, width, head_dim,
                    s.scores + key, kEncoderChunkKeys, rows, width);
  }
  float* out = s.out + begin * s.dim;
  for (size_t i = 0; i < rows; ++i) {
    const float* bias = first_bias == nullptr ? nullptr : first_bias - (begin + i);
    const float factor =
        SoftmaxChunk(s.scores + i * kEncoderChunkKeys, num_keys, bias, &running[begin + i]);
    ScaleRow(out + i * s.dim, s.dim, factor);
  }
  Multiply<true>(s.scores, kEncoderChunkKeys, s.v, s.dim, num_keys, out, s.dim, rows, s.dim);
}

HWY_INLINE void AttendChunk(const EncoderAttentionParams& p, size_t head, size_t first_query,
                            size_t rows, size_t begin, size_t num_keys, const EncoderScratch& s,
                            Running* running) {
  const size_t column = head * p.head_dim;
  PackKeys(p.k + begin * p.row_stride + column, p.row_stride, num_keys, p.head_dim, s.k);
  CopyRows(p.v + begin * p.row_stride + column, p.row_stride, num_keys, p.head_dim, s.v, s.dim);
  const float* bias = p.bias.data == nullptr
                          ? nullptr
                          : p.bias.data + head * p.bias.stride + p.bias.zero + begin - first_query;
  for (size_t i = 0; i < rows; i += kEncoderBlockRows) {
    AttendBlock(i, rows - i < kEncoderBlockRows ? rows - i : kEncoderBlockRows, num_keys,
                p.head_dim, bias, s, running);
  }
}

void EncoderAttention(const EncoderAttentionParams& p, size_t head, size_t first, size_t rows,
                      float* scratch) {
  const EncoderScratch s(scratch, p.head_dim);
  const size_t first_query = p.begin + first;
  CopyRows(p.q + first_query * p.row_stride + head * p.head_dim, p.row_stride, rows, p.head_dim,
           s.q, s.dim);
  Running running[kEncoderQueryRows];
  for (size_t i = 0; i < rows; ++i) running[i] = {-HUGE_VALF, 0.0f};
  for (size_t i = 0; i < rows * s.dim; ++i) s.out[i] = 0.0f;
  for (size_t begin = 0; begin < p.num_keys; begin += kEncoderChunkKeys) {
    const size_t left = p.num_keys - begin;
    AttendChunk(p, head, first_query, rows, begin,
                left < kEncoderChunkKeys ? left : kEncoderChunkKeys, s, running);
  }
  for (size_t i = 0; i < rows; ++i) {
    const VF sum = hn::Set(DF(), running[i].sum);
    const size_t to = (first + i) * p.out.cols + head * p.head_dim;
    for (size_t j = 0; j < p.head_dim; j += LanesF()) {
      const size_t count = p.head_dim - j < LanesF() ? p.head_dim - j : LanesF();
      StoreActivation(hn::Div(LoadF(s.out + i * s.dim + j), sum), p.out.data, p.out.dtype, to + j,
                      count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/isa/dispatch.h"

namespace precis {

HWY_EXPORT(EncoderAttention);

// Enough for the kernels of attention_bf16-inl.h too, which pad rows to 32 elements and keep
// running maxima and sums there, but have q in half the bytes and k and v elsewhere.
size_t EncoderScratchFloats(size_t head_dim) {
  const size_t dim = (head_dim + 31) / 32 * 32;
  return 2 * kEncoderQueryRows * dim + 2 * kEncoderChunkKeys * dim +
         kEncoderBlockRows * kEncoderChunkKeys + 2 * kEncoderQueryRows;
}

void SelectEncoderAttention(int64_t hwy_targets, CpuKernels* table) {
  table->encoder_attention = PickTarget(HWY_DISPATCH_TABLE(EncoderAttention), hwy_targets);
  table->encoder_attention_bf16 = table->encoder_attention;
}

}  // namespace precis
#endif  // HWY_ONCE
