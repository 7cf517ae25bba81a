// SubtractNoise (PGQA): a warp a row and head. Means first, then squares of differences.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/splitmix.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

struct Statistics {
  float mean;
  float deviation;  // with divisor n - 1; 0 of a single value
};

template <typename At>
__device__ Statistics StatisticsOf(unsigned n, const At& at) {
  const unsigned lane = threadIdx.x % kWarpLanes;
  float sum = 0;
  for (unsigned i = lane; i < n; i += kWarpLanes) sum += at(i);
  const float mean = WarpSum(sum) / static_cast<float>(n);
  float squares = 0;
  for (unsigned i = lane; i < n; i += kWarpLanes) {
    const float difference = at(i) - mean;
    squares = fmaf(difference, difference, squares);
  }
  squares = WarpSum(squares);
  return {mean, n > 1 ? sqrtf(squares / static_cast<float>(n - 1)) : 0.0f};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    SubtractNoiseKernel(const float* x, const NoiseRow* rows, uint32_t layer, uint32_t kind,
                        uint32_t num_heads, uint32_t head_dim, uint32_t group_size,
                        typename T::Storage* out) {
  const NoiseRow row = rows[blockIdx.x];
  const size_t stride = size_t{num_heads} * head_dim;
  for (uint32_t head = threadIdx.x / kWarpLanes; head < num_heads; head += kThreads / kWarpLanes) {
    const size_t begin = blockIdx.x * stride + size_t{head} * head_dim;
    const uint32_t place = head % group_size;
    const uint64_t chain = NoiseChain(row.seed, layer, kind, head, row.position);
    const auto noise = [&](unsigned e) { return e == place ? 0.0f : NoiseUniform(chain, e); };
    const auto value = [&](unsigned e) { return x[begin + e]; };
    const Statistics of_noise = StatisticsOf(head_dim, noise);
    const Statistics of_x = StatisticsOf(head_dim, value);
    const float scale = of_noise.deviation == 0.0f ? 1.0f : of_noise.deviation;
    for (unsigned e = threadIdx.x % kWarpLanes; e < head_dim; e += kWarpLanes) {
      const float z = (noise(e) - of_noise.mean) / scale;
      out[begin + e] = T::Store(value(e) - fmaf(z, of_x.deviation, of_x.mean));
    }
  }
}

template <typename T>
void Launch(const SubtractNoiseParams& p, cudaStream_t stream) {
  PRECIS_LAUNCH(SubtractNoiseKernel<T>, Blocks(p.rows.size(), 1), kThreads, 0, stream, p.x,
                p.rows.data(), p.layer, p.kind, p.num_heads, p.head_dim, p.group_size,
                static_cast<typename T::Storage*>(p.out.data));
}

}  // namespace

void SubtractNoise(const SubtractNoiseParams& p, cudaStream_t stream) {
  if (p.rows.empty()) return;
  if (p.out.dtype == DType::kF32) return Launch<F32>(p, stream);
  Launch<BF16>(p, stream);
}

}  // namespace precis::cuda
