// MergePartials: the chunks of a row's keys joined in their order, a block a row and head.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    MergeKernel(const uint32_t* first_chunk, const float* partials, uint32_t head_dim,
                size_t out_stride, typename T::Storage* out) {
  const uint32_t first = first_chunk[blockIdx.x];
  const uint32_t chunks = first_chunk[blockIdx.x + 1] - first;
  if (chunks == 1) return;
  const uint32_t head = blockIdx.y;
  const size_t stride = gridDim.y * PartialFloats(head_dim);
  const float* partial = partials + first * stride + head * PartialFloats(head_dim);
  float max = partial[head_dim];
  for (uint32_t i = 1; i < chunks; ++i) max = LargerOrNaN(max, partial[i * stride + head_dim]);
  for (uint32_t d = threadIdx.x; d < head_dim; d += kThreads) {
    float value = 0;
    float sum = 0;
    for (uint32_t i = 0; i < chunks; ++i) {
      const float* at = partial + i * stride;
      const float factor = expf(at[head_dim] - max);
      value = fmaf(at[d], factor, value);
      sum = fmaf(at[head_dim + 1], factor, sum);
    }
    out[blockIdx.x * out_stride + head * head_dim + d] = T::Store(value / sum);
  }
}

template <typename T>
void Launch(const PagedWork& work, uint32_t num_heads, uint32_t head_dim, const Activations& out,
            cudaStream_t stream) {
  PRECIS_LAUNCH(MergeKernel<T>, dim3(Blocks(out.rows, 1), num_heads), kThreads, 0, stream,
                work.first_chunk, work.partials, head_dim, out.cols,
                static_cast<typename T::Storage*>(out.data));
}

}  // namespace

void MergePartials(const PagedWork& work, uint32_t num_heads, uint32_t head_dim,
                   const Activations& out, cudaStream_t stream) {
  if (out.dtype == DType::kF32) return Launch<F32>(work, num_heads, head_dim, out, stream);
  Launch<BF16>(work, num_heads, head_dim, out, stream);
}

}  // namespace precis::cuda
