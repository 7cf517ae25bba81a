// Element types of weights, activations and KV, and the conversions that every backend shares.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace precis {

enum class DType : uint8_t { kF32, kBF16, kI8 };

constexpr size_t ElementBytes(DType t) { return t == DType::kF32 ? 4 : t == DType::kBF16 ? 2 : 1; }

constexpr std::string_view DTypeName(DType t) {
  return t == DType::kF32 ? "f32" : t == DType::kBF16 ? "bf16" : "int8";
}

inline float BF16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Round to nearest, ties to even; NaN stays NaN.
inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace precis
