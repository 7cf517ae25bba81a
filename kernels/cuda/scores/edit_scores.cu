// ExtractScores: a thread a place. KeepScores: a block a row that is kept.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    ExtractKernel(float* scores, size_t count, int32_t first_token, const ScorePlace* places,
                  uint32_t num_places, float* taken) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= num_places) return;
  const size_t column = static_cast<size_t>(places[i].token - first_token);
  float* score = scores + places[i].row * count + column;
  taken[i] = *score;
  *score = -INFINITY;
}

__global__ void __launch_bounds__(kThreads)
    KeepKernel(const float* scores, size_t count, const uint32_t* rows, float* kept) {
  const float* from = scores + rows[blockIdx.x] * count;
  float* to = kept + blockIdx.x * count;
  for (size_t i = threadIdx.x; i < count; i += kThreads) to[i] = from[i];
}

}  // namespace

void ExtractScores(const ExtractScoresParams& p, float* taken, cudaStream_t stream) {
  if (p.places.empty()) return;
  PRECIS_LAUNCH(ExtractKernel, Blocks(p.places.size(), kThreads), kThreads, 0, stream, p.scores,
                p.count, p.first_token, p.places.data(), static_cast<uint32_t>(p.places.size()),
                taken);
}

void KeepScores(const KeepScoresParams& p, float* kept, cudaStream_t stream) {
  if (p.rows.empty() || p.count == 0) return;
  PRECIS_LAUNCH(KeepKernel, Blocks(p.rows.size(), 1), kThreads, 0, stream, p.scores, p.count,
                p.rows.data(), kept);
}

}  // namespace precis::cuda
