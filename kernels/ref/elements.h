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

// In double. Four partial sums, because one chain of additions would make the oracle needlessly
// slow.
template <typename T>
double Dot(const T* a, const float* b, size_t k) {
  double sum[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= k; i += 4) {
    for (size_t j = 0; j < 4; ++j) sum[j] += static_cast<double>(a[i + j]) * b[i + j];
  }
  for (; i < k; ++i) sum[0] += static_cast<double>(a[i]) * b[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace precis
