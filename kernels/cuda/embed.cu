// Embed: a block a token.
#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

bool CanTakeFours(const void* a, size_t elements) {
  return elements % 4 == 0 && reinterpret_cast<uintptr_t>(a) % 16 == 0;
}

__device__ __forceinline__ float4 LoadFour(const float4* from) { return *from; }
__device__ __forceinline__ float4 LoadFour(const uint2* from) {
  const uint2 x = *from;
  return float4{WidenBF16(x.x), __uint_as_float(x.x & 0xffff0000u), WidenBF16(x.y),
                __uint_as_float(x.y & 0xffff0000u)};
}

__device__ __forceinline__ float4 Scaled(float4 x, float scale) {
  return float4{x.x * scale, x.y * scale, x.z * scale, x.w * scale};
}
__device__ __forceinline__ float4 ScaledAndAdded(float4 x, float scale, float4 y) {
  return float4{fmaf(x.x, scale, y.x), fmaf(x.y, scale, y.y), fmaf(x.z, scale, y.z),
                fmaf(x.w, scale, y.w)};
}

// Widths of whole fours are read as such: 16 bytes of f32, 8 of bf16.
template <typename T, bool kFours>
__global__ void __launch_bounds__(kThreads) EmbedKernel(EmbedParams p) {
  const size_t d = p.d;
  const size_t token = blockIdx.x;
  const auto* from = static_cast<const typename T::Storage*>(p.table) +
                     static_cast<size_t>(p.ids.data()[token]) * d;
  const float* position = nullptr;
  if (p.position_table != nullptr) position = p.position_table + p.positions.data()[token] * d;
  float* to = p.out + token * d;
  if constexpr (!kFours) {
    for (size_t i = threadIdx.x; i < d; i += kThreads) {
      const float x = T::Load(from[i]);
      to[i] = position != nullptr ? fmaf(x, p.scale, position[i]) : x * p.scale;
    }
  } else {
    using Four = std::conditional_t<sizeof(typename T::Storage) == 4, float4, uint2>;
    const auto* from4 = reinterpret_cast<const Four*>(from);
    const auto* position4 = reinterpret_cast<const float4*>(position);
    auto* to4 = reinterpret_cast<float4*>(to);
    for (size_t i = threadIdx.x; i < d / 4; i += kThreads) {
      const float4 x = LoadFour(from4 + i);
      to4[i] = position != nullptr ? ScaledAndAdded(x, p.scale, position4[i]) : Scaled(x, p.scale);
    }
  }
}

template <typename T>
void LaunchEmbed(const EmbedParams& p, cudaStream_t stream) {
  const unsigned blocks = Blocks(p.ids.size(), 1);
  if (CanTakeFours(p.table, p.d) && CanTakeFours(p.out, p.d) &&
      CanTakeFours(p.position_table, p.d)) {
    PRECIS_LAUNCH((EmbedKernel<T, true>), blocks, kThreads, 0, stream, p);
  } else {
    PRECIS_LAUNCH((EmbedKernel<T, false>), blocks, kThreads, 0, stream, p);
  }
}

}  // namespace

void Embed(const EmbedParams& p, cudaStream_t stream) {
  if (p.ids.empty()) return;
  if (p.table_dtype == DType::kF32) {
    LaunchEmbed<F32>(p, stream);
  } else {
    LaunchEmbed<BF16>(p, stream);
  }
}

}  // namespace precis::cuda
