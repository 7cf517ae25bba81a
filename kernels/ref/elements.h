// Reads and writes of single elements of f32 or bf16 arrays, for scalar code.
//
// Called by kernels/ref and by tests. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace precis {

inline float LoadElement(const void* data, DType dtype, size_t index) {
  return dtype == DType::kF32 ? static_cast<const float*>(data)[index]
                              : BF16ToF32(static_cast<const uint16_t*>(data)[index]);
}

inline void StoreElement(void* data, DType dtype, size_t index, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<uint16_t*>(data)[index] = F32ToBF16(value);
  }
}

}  // namespace precis
