// FoldHeads at load: a thread an element of the grouped projection, its heads summed up in double
// in their order, rounded step by step as engine/model/grouping/head_folding.cc does it.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

__device__ double WeightOf(const FoldHeadsParams& p, uint32_t head, size_t d, size_t column) {
  switch (p.weights) {
    case FoldWeights::kMean:
      return 1.0;
    case FoldWeights::kHead:
      return p.head_weights[head];
    case FoldWeights::kHeadDim:
      return p.head_weights[head * p.head_dim + d];
    case FoldWeights::kColumn:
      return p.head_weights[head * p.d_model + column];
  }
  return 0;
}

// A block's threads share a row: group g, dimension d.
__global__ void __launch_bounds__(kThreads) FoldKernel(FoldHeadsParams p) {
  const size_t column = blockIdx.x * size_t{kThreads} + threadIdx.x;
  if (column >= p.d_model) return;
  const unsigned d = blockIdx.y % p.head_dim;
  const unsigned g = blockIdx.y / p.head_dim;
  const uint32_t* heads = p.groups.heads.data();
  const uint32_t* begin = p.groups.begin.data() + g;
  double sum = 0;
  for (uint32_t i = begin[0]; i < begin[1]; ++i) {
    const double x = p.weight[(size_t{heads[i]} * p.head_dim + d) * p.d_model + column];
    sum = __dadd_rn(sum, __dmul_rn(WeightOf(p, heads[i], d, column), x));
  }
  if (p.weights == FoldWeights::kMean) sum = __dmul_rn(sum, 1.0 / (begin[1] - begin[0]));
  p.out[size_t{blockIdx.y} * p.d_model + column] = static_cast<float>(sum);
}

}  // namespace

void FoldHeads(const FoldHeadsParams& p, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>((p.groups.begin.size() - 1) * p.head_dim);
  if (rows == 0 || p.d_model == 0) return;
  PRECIS_LAUNCH(FoldKernel, dim3(Blocks(p.d_model, kThreads), rows), kThreads, 0, stream, p);
}

}  // namespace precis::cuda
