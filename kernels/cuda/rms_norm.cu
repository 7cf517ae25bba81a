// RmsNorm: a block a row, summed up in an order that depends on the row's width only.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

// The row is read twice, the second time from L1.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    RmsNormKernel(const float* x, const float* gain, float eps, size_t cols,
                  typename T::Storage* out) {
  __shared__ float scratch[kThreads / kWarpLanes];
  const float* row = x + static_cast<size_t>(blockIdx.x) * cols;
  typename T::Storage* to = out + static_cast<size_t>(blockIdx.x) * cols;
  float sum = 0;
  for (size_t i = threadIdx.x; i < cols; i += kThreads) sum = fmaf(row[i], row[i], sum);
  const float mean = BlockSum<kThreads>(sum, scratch) / static_cast<float>(cols);
  const float scale = 1.0f / sqrtf(mean + eps);
  for (size_t i = threadIdx.x; i < cols; i += kThreads) {
    to[i] = T::Store(row[i] * scale * gain[i]);
  }
}

}  // namespace

void RmsNorm(const RmsNormParams& p, cudaStream_t stream) {
  const Activations& out = p.out;
  if (out.rows == 0) return;
  const unsigned blocks = Blocks(out.rows, 1);
  if (out.dtype == DType::kF32) {
    PRECIS_LAUNCH(RmsNormKernel<F32>, blocks, kThreads, 0, stream, p.x, p.gain, p.eps, out.cols,
                  static_cast<float*>(out.data));
  } else {
    PRECIS_LAUNCH(RmsNormKernel<BF16>, blocks, kThreads, 0, stream, p.x, p.gain, p.eps, out.cols,
                  static_cast<uint16_t*>(out.data));
  }
}

}  // namespace precis::cuda
