// AddBias: a thread an element, a line of blocks a row.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void __launch_bounds__(kThreads) AddBiasKernel(const float* bias, size_t n, float* out) {
  const size_t column = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column < n) out[blockIdx.y * n + column] += bias[column];
}

}  // namespace

void AddBias(const float* bias, size_t rows, size_t n, float* out, cudaStream_t stream) {
  if (rows == 0) return;
  const dim3 blocks(Blocks(n, kThreads), Blocks(rows, 1));
  PRECIS_LAUNCH(AddBiasKernel, blocks, kThreads, 0, stream, bias, n, out);
}

}  // namespace precis::cuda
