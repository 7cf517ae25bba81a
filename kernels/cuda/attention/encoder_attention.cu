// Self-attention of one document in f32, with a relative bias, scores never held as a whole: a
// block takes some query rows of one head through all keys, a tile of kKeys after the other, and
// keeps a running maximum and sum (Milakov and Gimelshein 2018). No padding: the last tile is as
// long as it is.
//
// Tiles begin at key 0 whatever the query rows are, so that a row has the same bits in any slice.
#include <cmath>

#include "common/check.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kWarps = kThreads / kWarpLanes;
constexpr unsigned kRowsOfWarp = 4;
constexpr unsigned kRows = kWarps * kRowsOfWarp;
constexpr unsigned kKeys = kWarpLanes;  // a lane scores a key

struct EncoderCall {
  const float* q;
  const float* k;
  const float* v;
  size_t row_stride;
  uint32_t num_keys;
  uint32_t head_dim;
  uint32_t begin;
  uint32_t num_rows;
  PositionBias bias;
  size_t out_stride;
};

// Columns `column` .. of `rows` rows from `first` on, `stride` apart in `to`; past `end` zeros.
__device__ void LoadRows(const EncoderCall& c, const float* from, size_t column, unsigned first,
                         unsigned rows, unsigned end, unsigned stride, float* to) {
  for (unsigned i = threadIdx.x; i < rows * c.head_dim; i += kThreads) {
    const unsigned row = i / c.head_dim;
    const unsigned d = i % c.head_dim;
    to[row * stride + d] =
        first + row < end ? from[(first + row) * c.row_stride + column + d] : 0.0f;
  }
}

// What a warp keeps of its rows; lane l has dimensions l, l + 32, ...
template <unsigned kDims>
struct Running {
  float max = -INFINITY;
  float sum = 0;
  float values[kDims] = {};
};

// Row `query` against the keys first .. first + count - 1 that lie in k and v; probabilities pass
// through `shared` ([kKeys] of this warp and row).
template <unsigned kDims>
__device__ void Attend(const EncoderCall& c, const float* q, const float* k, const float* v,
                       unsigned query, unsigned head, unsigned first, unsigned count, float* shared,
                       Running<kDims>* running) {
  const unsigned lane = threadIdx.x % kWarpLanes;
  const unsigned stride = c.head_dim + 1;
  float score = 0;
  for (unsigned d = 0; d < c.head_dim; ++d) score = fmaf(q[d], k[lane * stride + d], score);
  if (c.bias.data != nullptr && lane < count) {
    score += c.bias.data[head * c.bias.stride + c.bias.zero + first + lane - query];
  }
  if (lane >= count) score = -INFINITY;
  const float max = LargerOrNaN(running->max, WarpMax(score));
  const float factor = expf(running->max - max);
  const float p = lane < count ? expf(score - max) : 0.0f;
  running->max = max;
  running->sum = fmaf(running->sum, factor, WarpSum(p));
  shared[lane] = p;
  __syncwarp();
#pragma unroll
  for (unsigned i = 0; i < kDims; ++i) {
    const unsigned d = i * kWarpLanes + lane;
    if (d >= c.head_dim) continue;
    float value = running->values[i] * factor;
    for (unsigned key = 0; key < count; ++key)
      value = fmaf(shared[key], v[key * stride + d], value);
    running->values[i] = value;
  }
}

template <unsigned kDims>
__global__ void __launch_bounds__(kThreads) EncoderKernel(EncoderCall c, float* out) {
  PRECIS_DYNAMIC_SHARED(float, shared);
  const unsigned stride = c.head_dim + 1;  // lanes that read a column each have a bank
  float* q = shared;                       // [kRows, stride]
  float* k = q + kRows * stride;           // [kKeys, stride]
  float* v = k + kKeys * stride;           // [kKeys, stride]
  float* p = v + kKeys * stride;           // [kRows, kKeys]
  const unsigned head = blockIdx.y;
  const size_t column = size_t{head} * c.head_dim;
  const unsigned first_row = c.begin + blockIdx.x * kRows;
  const unsigned end_row = c.begin + c.num_rows;
  const unsigned mine = threadIdx.x / kWarpLanes * kRowsOfWarp;
  LoadRows(c, c.q, column, first_row, kRows, end_row, stride, q);
  Running<kDims> running[kRowsOfWarp];
  for (unsigned first = 0; first < c.num_keys; first += kKeys) {
    __syncthreads();  // no one reads the last tile any more
    LoadRows(c, c.k, column, first, kKeys, c.num_keys, stride, k);
    LoadRows(c, c.v, column, first, kKeys, c.num_keys, stride, v);
    __syncthreads();
    const unsigned count = min(kKeys, c.num_keys - first);
#pragma unroll
    for (unsigned r = 0; r < kRowsOfWarp; ++r) {
      if (first_row + mine + r >= end_row) continue;
      Attend<kDims>(c, q + (mine + r) * stride, k, v, first_row + mine + r, head, first, count,
                    p + (mine + r) * kKeys, &running[r]);
    }
  }
#pragma unroll
  for (unsigned r = 0; r < kRowsOfWarp; ++r) {
    const unsigned row = blockIdx.x * kRows + mine + r;
    if (row >= c.num_rows) continue;
#pragma unroll
    for (unsigned i = 0; i < kDims; ++i) {
      const unsigned d = i * kWarpLanes + threadIdx.x % kWarpLanes;
      if (d < c.head_dim) {
        out[row * c.out_stride + column + d] = running[r].values[i] / running[r].sum;
      }
    }
  }
}

template <unsigned kDims>
void Launch(const EncoderCall& c, uint32_t num_heads, float* out, cudaStream_t stream) {
  const size_t floats = (kRows + 2 * kKeys) * (c.head_dim + size_t{1}) + kRows * kKeys;
  PRECIS_LAUNCH(EncoderKernel<kDims>, dim3(Blocks(c.num_rows, kRows), num_heads), kThreads,
                floats * sizeof(float), stream, c, out);
}

}  // namespace

void EncoderAttention(const EncoderAttentionParams& p, cudaStream_t stream) {
  PRECIS_CHECK(p.head_dim <= kMostHeadDim);
  if (p.out.rows == 0) return;
  if (p.out.dtype == DType::kBF16) return EncoderAttentionBF16(p, stream);
  const EncoderCall call{.q = p.q,
                         .k = p.k,
                         .v = p.v,
                         .row_stride = p.row_stride,
                         .num_keys = p.num_keys,
                         .head_dim = p.head_dim,
                         .begin = p.begin,
                         .num_rows = static_cast<uint32_t>(p.out.rows),
                         .bias = p.bias,
                         .out_stride = p.out.cols};
  auto* out = static_cast<float*>(p.out.data);
  if (p.head_dim <= 32) return Launch<1>(call, p.num_heads, out, stream);
  if (p.head_dim <= 64) return Launch<2>(call, p.num_heads, out, stream);
  Launch<4>(call, p.num_heads, out, stream);
}

}  // namespace precis::cuda
