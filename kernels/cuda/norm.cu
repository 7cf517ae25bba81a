// Norm: a block a row, summed up in an order that depends on the row's width only.
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

// The sum over the row of what `term` makes of a value.
template <typename Term>
__device__ __forceinline__ float RowSum(const float* row, size_t cols, const Term& term,
                                        float* scratch) {
  float sum = 0;
  for (size_t i = threadIdx.x; i < cols; i += kThreads) sum += term(row[i]);
  return BlockSum<kThreads>(sum, scratch);
}

// What is taken off a row's values, in two parts, and what the rest is multiplied with.
struct Centre {
  float rough;
  float rest;
  float scale;
};

__device__ __forceinline__ Centre RmsCentre(const float* row, size_t cols, float eps) {
  __shared__ float scratch[kThreads / kWarpLanes];
  float sum = 0;
  for (size_t i = threadIdx.x; i < cols; i += kThreads) sum = fmaf(row[i], row[i], sum);
  const float mean = BlockSum<kThreads>(sum, scratch) / static_cast<float>(cols);
  return {0, 0, 1.0f / sqrtf(mean + eps)};
}

// The corrected two-pass algorithm: kernels/cpu/row_kernels.cc says why.
__device__ __forceinline__ Centre LayerCentre(const float* row, size_t cols, float eps) {
  __shared__ float scratch[3][kThreads / kWarpLanes];
  const auto width = static_cast<float>(cols);
  const float rough = RowSum(
                          row, cols, [](float x) { return x; }, scratch[0]) /
                      width;
  const float rest = RowSum(
                         row, cols, [=](float x) { return x - rough; }, scratch[1]) /
                     width;
  const auto square = [=](float x) { return (x - rough) * (x - rough); };
  const float squares = RowSum(row, cols, square, scratch[2]) / width;
  const float variance = fmaf(-rest, rest, squares);
  return {rough, rest, 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + eps)};
}

// The row is read again from L1 after its first time. `residual` may be x: who writes a value has
// read it.
template <typename T, NormKind kKind>
__global__ void __launch_bounds__(kThreads)
    NormKernel(const float* x, NormWeights norm, size_t cols, typename T::Storage* out,
               float* residual) {
  const size_t begin = size_t{blockIdx.x} * cols;
  const float* row = x + begin;
  Centre centre;
  if constexpr (kKind == NormKind::kLayer) {
    centre = LayerCentre(row, cols, norm.eps);
  } else {
    centre = RmsCentre(row, cols, norm.eps);
  }
  for (size_t i = threadIdx.x; i < cols; i += kThreads) {
    float y;
    if constexpr (kKind == NormKind::kLayer) {
      const float centred = row[i] - centre.rough - centre.rest;
      y = fmaf(centred * centre.scale, norm.gain[i], norm.shift[i]);
    } else {
      y = row[i] * centre.scale * norm.gain[i];
    }
    if (out != nullptr) out[begin + i] = T::Store(y);
    if (residual != nullptr) residual[begin + i] = y;
  }
}

template <typename T>
void LaunchNorm(const NormParams& p, cudaStream_t stream) {
  const unsigned blocks = Blocks(p.out.rows, 1);
  auto* const out = static_cast<typename T::Storage*>(p.out.data);
  if (p.norm.kind == NormKind::kLayer) {
    PRECIS_LAUNCH((NormKernel<T, NormKind::kLayer>), blocks, kThreads, 0, stream, p.x, p.norm,
                  p.out.cols, out, p.residual);
  } else {
    PRECIS_LAUNCH((NormKernel<T, NormKind::kRms>), blocks, kThreads, 0, stream, p.x, p.norm,
                  p.out.cols, out, p.residual);
  }
}

}  // namespace

void Norm(const NormParams& p, cudaStream_t stream) {
  if (p.out.rows == 0) return;
  if (p.out.dtype == DType::kF32) {
    LaunchNorm<F32>(p, stream);
  } else {
    LaunchNorm<BF16>(p, stream);
  }
}

}  // namespace precis::cuda
