// Activate: a thread an element, a line of blocks a row. Residual sums are the GEMM's
// (Backend::Gemm with `accumulate`).
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

__device__ __forceinline__ float GeluTanh(float x) {
  constexpr float kRootOfTwoOverPi = 0.797884560802865f;
  return 0.5f * x * (1.0f + tanhf(kRootOfTwoOverPi * fmaf(0.044715f * x * x, x, x)));
}

template <typename T, ActivationKind kKind>
__global__ void __launch_bounds__(kThreads)
    ActivateKernel(const float* in, size_t d_ff, typename T::Storage* out) {
  const size_t column = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= d_ff) return;
  const size_t at = blockIdx.y * d_ff + column;
  if constexpr (kKind == ActivationKind::kGatedGelu) {
    const float* gate = in + blockIdx.y * 2 * d_ff + column;
    out[at] = T::Store(GeluTanh(gate[0]) * gate[d_ff]);
  } else {
    const float x = in[at];
    out[at] = T::Store(x < 0.0f ? 0.0f : x);
  }
}

template <typename T>
void LaunchActivate(const ActivateParams& p, cudaStream_t stream) {
  const Activations& out = p.out;
  auto* to = static_cast<typename T::Storage*>(out.data);
  const dim3 blocks(Blocks(out.cols, kThreads), Blocks(out.rows, 1));
  if (p.kind == ActivationKind::kGatedGelu) {
    PRECIS_LAUNCH((ActivateKernel<T, ActivationKind::kGatedGelu>), blocks, kThreads, 0, stream,
                  p.in, out.cols, to);
  } else {
    PRECIS_LAUNCH((ActivateKernel<T, ActivationKind::kRelu>), blocks, kThreads, 0, stream, p.in,
                  out.cols, to);
  }
}

}  // namespace

void Activate(const ActivateParams& p, cudaStream_t stream) {
  if (p.out.rows == 0) return;
  if (p.out.dtype == DType::kF32) {
    LaunchActivate<F32>(p, stream);
  } else {
    LaunchActivate<BF16>(p, stream);
  }
}

}  // namespace precis::cuda
