// ReduceScores: a block a row takes one panel of scores into what the row knows so far. The best
// are found one after the other, each the best of those after the last: few are asked for, and a
// panel stays in L1.
#include <cmath>

#include "common/check.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int32_t kNoToken = 0x7fffffff;

// Larger scores first, lower tokens first among equals. No score is NaN.
__device__ __forceinline__ bool IsBefore(const TokenScore& a, const TokenScore& b) {
  return a.score > b.score || (a.score == b.score && a.token < b.token);
}

// The first of the panel after `last`; kNoToken where there is none above -inf.
__device__ TokenScore FindNext(const float* scores, size_t count, int32_t first_token,
                               const TokenScore& last, TokenScore* scratch) {
  TokenScore best{-INFINITY, kNoToken};
  for (size_t i = threadIdx.x; i < count; i += kThreads) {
    const TokenScore next{scores[i], first_token + static_cast<int32_t>(i)};
    const bool is_possible = next.score > -INFINITY;
    if (is_possible && IsBefore(next, best) && IsBefore(last, next)) best = next;
  }
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    const TokenScore other{__shfl_xor_sync(kAllLanes, best.score, bits),
                           __shfl_xor_sync(kAllLanes, best.token, bits)};
    if (IsBefore(other, best)) best = other;
  }
  __syncthreads();  // all have read the last ones
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = best;
  __syncthreads();
  best = scratch[0];
  for (unsigned i = 1; i < kThreads / kWarpLanes; ++i) {
    if (IsBefore(scratch[i], best)) best = scratch[i];
  }
  return best;
}

// Whether one of the panel is among the best. Tokens of earlier panels go first among equals.
__device__ __forceinline__ bool Enters(const ScoreReduction& row, const TokenScore& next,
                                       size_t taken) {
  if (next.token == kNoToken || taken == row.best.size()) return false;
  const size_t kept = row.best.size() - taken;  // of those before, if this is all of the panel
  return row.num_best < kept || next.score > row.best.data()[kept - 1].score;
}

// The best of both, each in order, into `merged`.
__device__ size_t Merge(const ScoreReduction& row, const TokenScore* panel, size_t taken,
                        TokenScore* merged) {
  size_t i = 0;
  size_t j = 0;
  size_t n = 0;
  for (; n < row.best.size() && (i < row.num_best || j < taken); ++n) {
    const bool from_panel =
        i == row.num_best || (j < taken && panel[j].score > row.best.data()[i].score);
    merged[n] = from_panel ? panel[j++] : row.best.data()[i++];
  }
  return n;
}

__device__ void AddToSum(const float* scores, size_t count, float before, float max,
                         double* scratch, ScoreReduction* row) {
  double sum = 0;
  for (size_t i = threadIdx.x; i < count; i += kThreads) sum += expf(scores[i] - max);
  sum = BlockSum<kThreads>(sum, scratch);
  if (threadIdx.x != 0) return;  // all have read row->max: they were at BlockSum's barrier
  row->sum = row->sum * exp(static_cast<double>(before) - max) + sum;
  row->max = max;
}

__global__ void __launch_bounds__(kThreads)
    ScoreKernel(const float* scores, size_t count, int32_t first_token, ScoreReduction* rows) {
  PRECIS_DYNAMIC_SHARED(TokenScore, panel);  // [most best], then as many merged
  __shared__ TokenScore best_of_warps[kThreads / kWarpLanes];
  __shared__ float max_of_warps[kThreads / kWarpLanes];
  __shared__ double sums_of_warps[kThreads / kWarpLanes];
  ScoreReduction* row = rows + blockIdx.x;
  scores += blockIdx.x * count;
  size_t taken = 0;
  TokenScore last{INFINITY, -1};
  while (true) {
    const TokenScore next = FindNext(scores, count, first_token, last, best_of_warps);
    if (!Enters(*row, next, taken)) break;
    if (threadIdx.x == 0) panel[taken] = next;
    ++taken;
    last = next;
  }
  float max = -INFINITY;
  for (size_t i = threadIdx.x; i < count; i += kThreads) max = LargerOrNaN(max, scores[i]);
  const float before = row->max;
  max = LargerOrNaN(before, BlockMax<kThreads>(max, max_of_warps));
  if (row->wants_sum) {
    if (max != -INFINITY) AddToSum(scores, count, before, max, sums_of_warps, row);
  } else if (max != max && threadIdx.x == 0) {
    row->max = max;
  }
  if (threadIdx.x != 0 || taken == 0) return;
  TokenScore* merged = panel + row->best.size();
  row->num_best = Merge(*row, panel, taken, merged);
  for (size_t i = 0; i < row->num_best; ++i) row->best.data()[i] = merged[i];
}

}  // namespace

void ReduceScores(const ReduceScoresParams& p, size_t most_best, cudaStream_t stream) {
  PRECIS_CHECK(most_best <= kMostBest);
  if (p.rows.empty() || p.count == 0) return;
  PRECIS_LAUNCH(ScoreKernel, Blocks(p.rows.size(), 1), kThreads, 2 * most_best * sizeof(TokenScore),
                stream, p.scores, p.count, p.first_token, p.rows.data());
}

}  // namespace precis::cuda
