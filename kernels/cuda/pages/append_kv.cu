// AppendKv: a warp writes the K or the V of one token and KV head. Words of K are written whole; of
// a word of V a token has one element, and its neighbours' are left alone.
#include <cfloat>
#include <cmath>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/kernels.h"

namespace precis::cuda {
namespace {

constexpr unsigned kThreads = 128;

// What is stored of one token's head: the values themselves, or int8 and a scale.
template <DType kType>
class Rounding {
 public:
  static constexpr unsigned kPack = kKvWordBytes / ElementBytes(kType);

  __device__ Rounding(const float*, unsigned) {}
  __device__ unsigned Bits(float x) const {
    return kType == DType::kF32 ? __float_as_uint(x) : RoundToBF16(x);
  }
  __device__ float scale() const { return 1.0f; }
};

// As RoundRowToInt8 of kernels/int8_rows.h, in every bit.
template <>
class Rounding<DType::kI8> {
 public:
  static constexpr unsigned kPack = kKvWordBytes;

  __device__ Rounding(const float* values, unsigned n) {
    float peak = 0;
    int others = 0;
    for (unsigned i = threadIdx.x % kWarpLanes; i < n; i += kWarpLanes) {
      const float magnitude = fabsf(values[i]);
      others |= !(magnitude <= FLT_MAX);
      peak = peak < magnitude ? magnitude : peak;
    }
    peak = WarpMax(peak);
    finite_ = !__any_sync(kAllLanes, others);
    is_zero_ = !finite_ || peak < kLeastInt8Peak;
    inverse_ = is_zero_ ? 0.0f : __fdiv_rn(127.0f, peak);
    scale_ = !finite_ ? NAN : is_zero_ ? 0.0f : __fdiv_rn(peak, 127.0f);
  }
  __device__ unsigned Bits(float x) const {
    return is_zero_ ? 0u : static_cast<unsigned>(__float2int_rn(__fmul_rn(x, inverse_))) & 0xffu;
  }
  __device__ float scale() const { return scale_; }

 private:
  bool finite_;
  bool is_zero_;
  float inverse_;
  float scale_;
};

// Bits into element `index` of an array of whole words.
template <DType kType>
__device__ __forceinline__ void StoreBits(std::byte* array, size_t index, unsigned bits) {
  if constexpr (kType == DType::kF32) {
    reinterpret_cast<unsigned*>(array)[index] = bits;
  } else if constexpr (kType == DType::kBF16) {
    reinterpret_cast<uint16_t*>(array)[index] = static_cast<uint16_t>(bits);
  } else {
    reinterpret_cast<uint8_t*>(array)[index] = static_cast<uint8_t>(bits);
  }
}

template <DType kType>
__device__ void AppendKey(const float* k, const KvRegion& r, unsigned g, unsigned slot,
                          std::byte* page) {
  constexpr unsigned kPack = Rounding<kType>::kPack;
  const Rounding<kType> rounding(k, r.head_dim);
  auto* words = reinterpret_cast<unsigned*>(page + r.k_offset);
  for (unsigned w = threadIdx.x % kWarpLanes; w < r.dim_words(); w += kWarpLanes) {
    unsigned word = 0;
    for (unsigned e = 0; e < kPack && w * kPack + e < r.head_dim; ++e) {
      word |= rounding.Bits(k[w * kPack + e]) << (32 / kPack % 32 * e);
    }
    words[(g * r.dim_words() + w) * r.slots + slot] = word;
  }
  if (kType == DType::kI8 && threadIdx.x % kWarpLanes == 0) {
    reinterpret_cast<float*>(page + r.k_scale_offset)[g * r.slots + slot] = rounding.scale();
  }
}

template <DType kType>
__device__ void AppendValue(const float* v, const KvRegion& r, unsigned g, unsigned slot,
                            std::byte* page) {
  const Rounding<kType> rounding(v, r.head_dim);
  for (unsigned d = threadIdx.x % kWarpLanes; d < r.head_dim; d += kWarpLanes) {
    StoreBits<kType>(page + r.v_offset, r.VIndex(g, slot, d), rounding.Bits(v[d]));
  }
  if (kType == DType::kI8 && threadIdx.x % kWarpLanes == 0) {
    reinterpret_cast<float*>(page + r.v_scale_offset)[g * r.slots + slot] = rounding.scale();
  }
}

// A block a token; its warps share the KV heads.
template <DType kType>
__global__ void __launch_bounds__(kThreads)
    AppendKvKernel(const float* k, const float* v, size_t row_stride, const SlotRef* slots,
                   KvPool pool, KvRegion r) {
  const SlotRef at = slots[blockIdx.x];
  std::byte* page = pool.base + static_cast<size_t>(at.page) * pool.page_bytes;
  for (unsigned i = threadIdx.x / kWarpLanes; i < 2 * r.num_kv_heads; i += kThreads / kWarpLanes) {
    const unsigned g = i / 2;
    const size_t column = blockIdx.x * row_stride + size_t{g} * r.head_dim;
    if (i % 2 == 0) {
      AppendKey<kType>(k + column, r, g, at.slot, page);
    } else {
      AppendValue<kType>(v + column, r, g, at.slot, page);
    }
  }
}

template <DType kType>
void Launch(const AppendKvParams& p, cudaStream_t stream) {
  PRECIS_LAUNCH(AppendKvKernel<kType>, Blocks(p.slots.size(), 1), kThreads, 0, stream, p.k, p.v,
                p.row_stride, p.slots.data(), p.pool, p.region);
}

}  // namespace

void AppendKv(const AppendKvParams& p, cudaStream_t stream) {
  if (p.slots.empty()) return;
  if (p.region.dtype == DType::kF32) return Launch<DType::kF32>(p, stream);
  if (p.region.dtype == DType::kBF16) return Launch<DType::kBF16>(p, stream);
  Launch<DType::kI8>(p, stream);
}

}  // namespace precis::cuda
