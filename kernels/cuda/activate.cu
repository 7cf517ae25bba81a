// Activate: a thread an element, a line of blocks a row. Residual sums are the GEMM's
// (Backend::Gemm with `accumulate`).
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <ActivationKind kKind>
__device__ __forceinline__ float ActivationOf(float x) {
  if constexpr (kKind == ActivationKind::kRelu) {
    return x < 0.0f ? 0.0f : x;
  } else if constexpr (kKind == ActivationKind::kGelu) {
    // erfc, because 1 + erf has no digits left where x is far below 0.
    return 0.5f * x * erfcf(-0.707106781186548f * x);
  } else if constexpr (kKind == ActivationKind::kGeluTanh) {
    constexpr float kRootOfTwoOverPi = 0.797884560802865f;
    return 0.5f * x * (1.0f + tanhf(kRootOfTwoOverPi * fmaf(0.044715f * x * x, x, x)));
  } else {
    return x / (1.0f + expf(-x));
  }
}

template <typename T, ActivationKind kKind, bool kGated>
__global__ void __launch_bounds__(kThreads)
    ActivateKernel(const float* in, size_t d_ff, typename T::Storage* out) {
  const size_t column = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= d_ff) return;
  const size_t at = blockIdx.y * d_ff + column;
  if constexpr (kGated) {
    const float* gate = in + blockIdx.y * 2 * d_ff + column;
    out[at] = T::Store(ActivationOf<kKind>(gate[0]) * gate[d_ff]);
  } else {
    out[at] = T::Store(ActivationOf<kKind>(in[at]));
  }
}

template <typename T, ActivationKind kKind>
void LaunchKind(const ActivateParams& p, cudaStream_t stream) {
  const Activations& out = p.out;
  auto* to = static_cast<typename T::Storage*>(out.data);
  const dim3 blocks(Blocks(out.cols, kThreads), Blocks(out.rows, 1));
  if (p.gated) {
    PRECIS_LAUNCH((ActivateKernel<T, kKind, true>), blocks, kThreads, 0, stream, p.in, out.cols,
                  to);
  } else {
    PRECIS_LAUNCH((ActivateKernel<T, kKind, false>), blocks, kThreads, 0, stream, p.in, out.cols,
                  to);
  }
}

template <typename T>
void LaunchActivate(const ActivateParams& p, cudaStream_t stream) {
  switch (p.kind) {
    case ActivationKind::kRelu:
      return LaunchKind<T, ActivationKind::kRelu>(p, stream);
    case ActivationKind::kGelu:
      return LaunchKind<T, ActivationKind::kGelu>(p, stream);
    case ActivationKind::kGeluTanh:
      return LaunchKind<T, ActivationKind::kGeluTanh>(p, stream);
    case ActivationKind::kSilu:
      return LaunchKind<T, ActivationKind::kSilu>(p, stream);
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
