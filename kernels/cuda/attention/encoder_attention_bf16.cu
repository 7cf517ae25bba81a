// Encoder attention for a bf16 GEMM on tensor cores (mma.sync, sm_80 and newer): q, k, v and the
// probabilities are rounded to bf16, sums are f32 (Dao 2023, FlashAttention-2, is the order of
// work). A warp takes 16 query rows of one head through all keys in tiles, with a running maximum
// and sum; while a tile is multiplied the next is copied.
//
// Tiles begin at key 0 whatever the query rows are, so that a row has the same bits in any slice.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned kWarpRows = 16;
constexpr unsigned kRows = kThreads / kWarpLanes * kWarpRows;
constexpr unsigned kKeys = 32;      // of a tile; packed keys are padded to as many
constexpr unsigned kChunkDims = 8;  // of 16 bytes, which ldmatrix and cp.async take at once
constexpr unsigned kPackThreads = 256;

__host__ __device__ constexpr unsigned Padded(unsigned n) { return (n + 31) / 32 * 32; }

// K and V of all heads as EncoderPackedBytes() has room for them: [heads, padded keys, padded dims]
// each, what pads is zero.
struct PackedKeys {
  uint16_t* k;
  uint16_t* v;
};

PackedKeys PackedOf(const EncoderAttentionParams& p) {
  const auto address = reinterpret_cast<uintptr_t>(p.packed);
  auto* k = reinterpret_cast<uint16_t*>(p.packed + (64 - address % 64) % 64);
  return {k, k + size_t{p.num_heads} * Padded(p.num_keys) * Padded(p.head_dim)};
}

// A thread two dimensions of a key.
__global__ void __launch_bounds__(kPackThreads)
    PackKernel(const float* k, const float* v, size_t row_stride, unsigned num_keys,
               unsigned head_dim, PackedKeys packed) {
  const unsigned pairs = Padded(head_dim) / 2;
  const unsigned i = blockIdx.x * kPackThreads + threadIdx.x;
  if (i >= Padded(num_keys) * pairs) return;
  const unsigned key = i / pairs;
  const unsigned d = i % pairs * 2;
  const size_t head = blockIdx.y;
  const size_t from = key * row_stride + head * head_dim + d;
  const auto pair = [&](const float* x) {
    const bool is_there = key < num_keys && d < head_dim;
    const unsigned low = is_there ? RoundToBF16(x[from]) : 0u;
    const unsigned high = is_there && d + 1 < head_dim ? RoundToBF16(x[from + 1]) : 0u;
    return low | high << 16;
  };
  const size_t to = head * Padded(num_keys) * pairs + i;
  reinterpret_cast<unsigned*>(packed.k)[to] = pair(k);
  reinterpret_cast<unsigned*>(packed.v)[to] = pair(v);
}

struct MmaCall {
  const float* q;
  size_t row_stride;
  PackedKeys packed;
  unsigned num_keys;
  unsigned head_dim;
  unsigned begin;
  unsigned num_rows;
  PositionBias bias;
  uint16_t* out;
  size_t out_stride;
};

// A tile of K or V in shared memory. Chunks are moved about so that ldmatrix, which reads the same
// chunk of eight rows, meets eight groups of banks.
template <unsigned kDim>
__device__ __forceinline__ uint16_t* ChunkAt(uint16_t* tile, unsigned row, unsigned chunk) {
  const unsigned turn = kDim == 32 ? row / 2 % 4 : row % 8;
  return tile + row * kDim + (chunk ^ turn) * kChunkDims;
}

// Begins the copy of keys first .. first + kKeys - 1 of K and V; dimensions past the packed ones
// become zero.
template <unsigned kDim>
__device__ void CopyTile(const MmaCall& c, unsigned head, unsigned first, uint16_t* k,
                         uint16_t* v) {
  constexpr unsigned kChunks = kDim / kChunkDims;
  const unsigned dims = Padded(c.head_dim);
  const size_t from = (size_t{head} * Padded(c.num_keys) + first) * dims;
  for (unsigned i = threadIdx.x; i < kKeys * kChunks; i += kThreads) {
    const unsigned row = i / kChunks;
    const unsigned chunk = i % kChunks;
    const bool is_there = chunk * kChunkDims < dims;
    const size_t at = from + row * dims + (is_there ? chunk * kChunkDims : 0);
    CopyAsync16(ChunkAt<kDim>(k, row, chunk), c.packed.k + at, is_there ? 16 : 0);
    CopyAsync16(ChunkAt<kDim>(v, row, chunk), c.packed.v + at, is_there ? 16 : 0);
  }
  CommitCopies();
}

__device__ __forceinline__ unsigned PairOf(float low, float high) {
  return RoundToBF16(low) | static_cast<unsigned>(RoundToBF16(high)) << 16;
}

// Over the four lanes that have a row's columns.
__device__ __forceinline__ float RowMax(float x) {
  x = LargerOrNaN(x, __shfl_xor_sync(kAllLanes, x, 1));
  return LargerOrNaN(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float RowSum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

// A warp's 16 query rows. Lane 4 g + t has rows g and g + 8 (0 and 1 below), and of eight columns 2
// t and 2 t + 1.
template <unsigned kDim>
class QueryRows {
 public:
  __device__ QueryRows(const MmaCall& call, unsigned head, unsigned first)
      : c_(call), head_(head), lane_(threadIdx.x % kWarpLanes), first_(first) {
#pragma unroll
    for (unsigned s = 0; s < kDim / 16; ++s) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned d = s * 16 + i / 2 * 8 + lane_ % 4 * 2;
        q_[s][i] = PairOf(Query(i % 2, d), Query(i % 2, d + 1));
      }
    }
  }

  // Keys first_key .. that lie in k and v.
  __device__ void Attend(unsigned first_key, uint16_t* k, uint16_t* v) {
    float scores[kKeys / 8][4] = {};
    Score(k, scores);
    float maxima[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (unsigned n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned key = first_key + n * 8 + lane_ % 4 * 2 + i % 2;
        scores[n][i] = key < c_.num_keys ? scores[n][i] + Bias(i / 2, key) : -INFINITY;
        maxima[i / 2] = LargerOrNaN(maxima[i / 2], scores[n][i]);
      }
    }
    float factors[2];
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      const float max = LargerOrNaN(max_[r], RowMax(maxima[r]));
      factors[r] = expf(max_[r] - max);
      max_[r] = max;
      sum_[r] *= factors[r];
    }
#pragma unroll
    for (unsigned n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        scores[n][i] = expf(scores[n][i] - max_[i / 2]);
        sum_[i / 2] += scores[n][i];
      }
    }
#pragma unroll
    for (unsigned n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) out_[n][i] *= factors[i / 2];
    }
    AddValues(v, scores);
  }

  __device__ void Store() {
    const float sums[2] = {RowSum(sum_[0]), RowSum(sum_[1])};
#pragma unroll
    for (unsigned n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = RowOf(i / 2);
        const unsigned d = n * 8 + lane_ % 4 * 2 + i % 2;
        if (row >= c_.num_rows || d >= c_.head_dim) continue;
        c_.out[row * c_.out_stride + size_t{head_} * c_.head_dim + d] =
            RoundToBF16(out_[n][i] / sums[i / 2]);
      }
    }
  }

 private:
  __device__ unsigned RowOf(unsigned r) const { return first_ + lane_ / 4 + r * 8; }
  __device__ float Query(unsigned r, unsigned d) const {
    if (RowOf(r) >= c_.num_rows || d >= c_.head_dim) return 0.0f;
    return c_.q[(c_.begin + RowOf(r)) * c_.row_stride + size_t{head_} * c_.head_dim + d];
  }
  __device__ float Bias(unsigned r, unsigned key) const {
    if (c_.bias.data == nullptr || RowOf(r) >= c_.num_rows) return 0.0f;
    return c_.bias.data[head_ * c_.bias.stride + c_.bias.zero + key - (c_.begin + RowOf(r))];
  }

  __device__ void Score(uint16_t* k, float (&scores)[kKeys / 8][4]) {
#pragma unroll
    for (unsigned s = 0; s < kDim / 16; ++s) {
#pragma unroll
      for (unsigned n = 0; n < kKeys / 16; ++n) {
        unsigned b[4];  // keys 0..7 and 8..15, of each dimensions 0..7 and 8..15
        LoadMatrices<false>(
            b, ChunkAt<kDim>(k, n * 16 + lane_ / 16 * 8 + lane_ % 8, s * 2 + lane_ / 8 % 2));
        MultiplyBF16(scores[2 * n], q_[s], b[0], b[1]);
        MultiplyBF16(scores[2 * n + 1], q_[s], b[2], b[3]);
      }
    }
  }

  __device__ void AddValues(uint16_t* v, const float (&p)[kKeys / 8][4]) {
#pragma unroll
    for (unsigned s = 0; s < kKeys / 16; ++s) {
      const float(&low)[4] = p[2 * s];
      const float(&high)[4] = p[2 * s + 1];
      const unsigned a[4] = {PairOf(low[0], low[1]), PairOf(low[2], low[3]),
                             PairOf(high[0], high[1]), PairOf(high[2], high[3])};
#pragma unroll
      for (unsigned n = 0; n < kDim / 16; ++n) {
        unsigned b[4];  // dimensions 0..7 and 8..15, of each keys 0..7 and 8..15
        LoadMatrices<true>(b, ChunkAt<kDim>(v, s * 16 + lane_ % 16, n * 2 + lane_ / 16));
        MultiplyBF16(out_[2 * n], a, b[0], b[1]);
        MultiplyBF16(out_[2 * n + 1], a, b[2], b[3]);
      }
    }
  }

  const MmaCall& c_;
  const unsigned head_;
  const unsigned lane_;
  const unsigned first_;  // row of the call
  unsigned q_[kDim / 16][4];
  float out_[kDim / 8][4] = {};
  float max_[2] = {-INFINITY, -INFINITY};
  float sum_[2] = {0, 0};  // of this lane's columns
};

template <unsigned kDim>
__global__ void __launch_bounds__(kThreads) MmaKernel(MmaCall c) {
  PRECIS_DYNAMIC_SHARED(uint16_t, shared);  // two tiles of K, then two of V
  constexpr unsigned kTile = kKeys * kDim;
  const unsigned head = blockIdx.y;
  QueryRows<kDim> rows(c, head, blockIdx.x * kRows + threadIdx.x / kWarpLanes * kWarpRows);
  const unsigned tiles = (c.num_keys + kKeys - 1) / kKeys;
  CopyTile<kDim>(c, head, 0, shared, shared + 2 * kTile);
  for (unsigned i = 0; i < tiles; ++i) {
    if (i + 1 < tiles) {
      const unsigned next = (i + 1) % 2 * kTile;
      CopyTile<kDim>(c, head, (i + 1) * kKeys, shared + next, shared + 2 * kTile + next);
      WaitForCopies<1>();
    } else {
      WaitForCopies<0>();
    }
    __syncthreads();
    rows.Attend(i * kKeys, shared + i % 2 * kTile, shared + (2 + i % 2) * kTile);
    __syncthreads();  // the tile may be overwritten
  }
  rows.Store();
}

template <unsigned kDim>
void Launch(const MmaCall& c, unsigned num_heads, cudaStream_t stream) {
  PRECIS_LAUNCH(MmaKernel<kDim>, dim3(Blocks(c.num_rows, kRows), num_heads), kThreads,
                4 * kKeys * kDim * sizeof(uint16_t), stream, c);
}

}  // namespace

void EncoderAttentionBF16(const EncoderAttentionParams& p, cudaStream_t stream) {
  const PackedKeys packed = PackedOf(p);
  if (!p.is_packed) {
    const size_t pairs = size_t{Padded(p.num_keys)} * Padded(p.head_dim) / 2;
    PRECIS_LAUNCH(PackKernel, dim3(Blocks(pairs, kPackThreads), p.num_heads), kPackThreads, 0,
                  stream, p.k, p.v, p.row_stride, p.num_keys, p.head_dim, packed);
  }
  const MmaCall call{.q = p.q,
                     .row_stride = p.row_stride,
                     .packed = packed,
                     .num_keys = p.num_keys,
                     .head_dim = p.head_dim,
                     .begin = p.begin,
                     .num_rows = static_cast<unsigned>(p.out.rows),
                     .bias = p.bias,
                     .out = static_cast<uint16_t*>(p.out.data),
                     .out_stride = p.out.cols};
  if (p.head_dim <= 32) return Launch<32>(call, p.num_heads, stream);
  if (p.head_dim <= 64) return Launch<64>(call, p.num_heads, stream);
  Launch<128>(call, p.num_heads, stream);
}

}  // namespace precis::cuda
