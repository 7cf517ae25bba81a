// Embed: a block a token.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

bool CanTakeFours(const void* a, size_t elements) {
  return elements % 4 == 0 && reinterpret_cast<uintptr_t>(a) % 16 == 0;
}

// Widths of whole fours are read as such: 16 bytes of f32, 8 of bf16.
template <typename T, bool kFours>
__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const int32_t* ids, const typename T::Storage* table, size_t d, float* out) {
  const auto* from = table + static_cast<size_t>(ids[blockIdx.x]) * d;
  float* to = out + static_cast<size_t>(blockIdx.x) * d;
  if constexpr (!kFours) {
    for (size_t i = threadIdx.x; i < d; i += kThreads) to[i] = T::Load(from[i]);
  } else if constexpr (sizeof(typename T::Storage) == 4) {
    const auto* from4 = reinterpret_cast<const float4*>(from);
    auto* to4 = reinterpret_cast<float4*>(to);
    for (size_t i = threadIdx.x; i < d / 4; i += kThreads) to4[i] = from4[i];
  } else {
    const auto* from4 = reinterpret_cast<const uint2*>(from);
    auto* to4 = reinterpret_cast<float4*>(to);
    for (size_t i = threadIdx.x; i < d / 4; i += kThreads) {
      const uint2 x = from4[i];
      to4[i] = float4{WidenBF16(x.x), __uint_as_float(x.x & 0xffff0000u), WidenBF16(x.y),
                      __uint_as_float(x.y & 0xffff0000u)};
    }
  }
}

template <typename T>
void LaunchEmbed(const EmbedParams& p, cudaStream_t stream) {
  const auto* table = static_cast<const typename T::Storage*>(p.table);
  const unsigned blocks = Blocks(p.ids.size(), 1);
  if (CanTakeFours(p.table, p.d) && CanTakeFours(p.out, p.d)) {
    PRECIS_LAUNCH((EmbedKernel<T, true>), blocks, kThreads, 0, stream, p.ids.data(), table, p.d,
                  p.out);
  } else {
    PRECIS_LAUNCH((EmbedKernel<T, false>), blocks, kThreads, 0, stream, p.ids.data(), table, p.d,
                  p.out);
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
