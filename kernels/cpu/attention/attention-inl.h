// What encoder and paged attention share: a register-blocked product and a chunk's softmax. Both do
// the same operations in the same order for a row and a key however the rows are tiled.
//
// Included once per target by the attention sources. Thread rule: pure but for their outputs.
#if defined(PRECIS_KERNELS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PRECIS_KERNELS_CPU_ATTENTION_INL_H_
#undef PRECIS_KERNELS_CPU_ATTENTION_INL_H_
#else
#define PRECIS_KERNELS_CPU_ATTENTION_INL_H_
#endif

#include <cstddef>

#include "kernels/cpu/isa/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace precis {
namespace HWY_NAMESPACE {

// Vectors of a tile's width: with four rows the accumulators fill about half of the registers.
#if HWY_TARGET == HWY_AVX3
constexpr size_t kTileVectors = 4;
#else
constexpr size_t kTileVectors = 2;
#endif
constexpr size_t kTileRows = 4;

// c[i][j] = (kAdd ? c[i][j] : 0) + sum over k of a[i][k] * b[k][j], for kRows rows and kVectors
// vectors of columns; k ascending, one fused multiply-add each.
template <size_t kRows, size_t kVectors, bool kAdd, typename B>
HWY_INLINE void Tile(const float* HWY_RESTRICT a, size_t a_stride, const B* HWY_RESTRICT b,
                     size_t b_stride, size_t depth, float* HWY_RESTRICT c, size_t c_stride) {
  const DF d;
  const size_t lanes = LanesF();
  VF acc[kRows][kVectors];
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) {
      acc[i][j] = kAdd ? LoadF(c + i * c_stride + j * lanes) : hn::Zero(d);
    }
  }
  for (size_t k = 0; k < depth; ++k) {
    VF right[kVectors];
    for (size_t j = 0; j < kVectors; ++j) right[j] = LoadF(b + k * b_stride + j * lanes);
    for (size_t i = 0; i < kRows; ++i) {
      const VF left = hn::Set(d, a[i * a_stride + k]);
      for (size_t j = 0; j < kVectors; ++j) acc[i][j] = hn::MulAdd(left, right[j], acc[i][j]);
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kVectors; ++j) hn::StoreU(acc[i][j], d, c + i * c_stride + j * lanes);
  }
}

// All columns of kRows rows. Whole vectors: b is read and c written up to a vector past `columns`.
template <size_t kRows, bool kAdd, typename B>
HWY_INLINE void TileRow(const float* a, size_t a_stride, const B* b, size_t b_stride, size_t depth,
                        float* c, size_t c_stride, size_t columns) {
  const size_t lanes = LanesF();
  size_t vectors = (columns + lanes - 1) / lanes;
  for (; vectors >= kTileVectors; vectors -= kTileVectors) {
    Tile<kRows, kTileVectors, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride);
    b += kTileVectors * lanes;
    c += kTileVectors * lanes;
  }
  for (; vectors > 0; --vectors) {
    Tile<kRows, 1, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride);
    b += lanes;
    c += lanes;
  }
}

// a: [rows, depth], b: [depth, columns], c: [rows, columns], strides in elements.
template <bool kAdd, typename B>
HWY_INLINE void Multiply(const float* a, size_t a_stride, const B* b, size_t b_stride, size_t depth,
                         float* c, size_t c_stride, size_t rows, size_t columns) {
  for (; rows >= kTileRows; rows -= kTileRows) {
    TileRow<kTileRows, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride, columns);
    a += kTileRows * a_stride;
    c += kTileRows * c_stride;
  }
  if (rows == 3) TileRow<3, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride, columns);
  if (rows == 2) TileRow<2, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride, columns);
  if (rows == 1) TileRow<1, kAdd>(a, a_stride, b, b_stride, depth, c, c_stride, columns);
}

// Running softmax of one query over chunks of keys.
struct Running {
  float max;
  float sum;
};

// Adds `bias` (null: none) to one chunk's scores and turns them into exp(score - new maximum). The
// row is padded to whole vectors; the padding becomes 0. Returns the factor for what earlier chunks
// have summed up.
HWY_INLINE float SoftmaxChunk(float* HWY_RESTRICT scores, size_t num_keys, const float* bias,
                              Running* running) {
  const DF d;
  const size_t lanes = LanesF();
  VF max = hn::Set(d, running->max);
  size_t i = 0;
  for (; i + lanes <= num_keys; i += lanes) {
    VF s = LoadF(scores + i);
    if (bias != nullptr) s = hn::Add(s, LoadF(bias + i));
    hn::StoreU(s, d, scores + i);
    max = hn::Max(max, s);
  }
  if (i < num_keys) {
    const size_t rest = num_keys - i;
    VF s = LoadF(scores + i);
    if (bias != nullptr) s = hn::Add(s, LoadPartial(bias + i, rest, 0.0f));
    s = hn::IfThenElse(hn::FirstN(d, rest), s, hn::Set(d, -1e38f));
    hn::StoreU(s, d, scores + i);
    max = hn::Max(max, s);
  }
  max = hn::MaxOfLanes(d, max);
  VF sum = hn::Zero(d);
  for (i = 0; i < num_keys; i += lanes) {
    VF p = Exp(hn::Sub(LoadF(scores + i), max));
    if (i + lanes > num_keys) p = hn::IfThenElseZero(hn::FirstN(d, num_keys - i), p);
    hn::StoreU(p, d, scores + i);
    sum = hn::Add(sum, p);
  }
  const float factor = hn::GetLane(Exp(hn::Sub(hn::Set(d, running->max), max)));
  running->max = hn::GetLane(max);
  running->sum = running->sum * factor + hn::GetLane(hn::SumOfLanes(d, sum));
  return factor;
}

}  // namespace HWY_NAMESPACE
}  // namespace precis
HWY_AFTER_NAMESPACE();

#endif
