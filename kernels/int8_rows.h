// Rounding to int8: one float, the scale, for a row of values; symmetric, so that 0 stays 0.
//   scale = max|x| / 127, q = round(x / scale) to nearest, ties to even.
// Rows whose magnitudes stay below kLeastInt8Peak are zero; what is not finite makes the scale NaN.
//
// Called by kernels/ref, and by every backend for its weights. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace precis {

// Writes n values `stride` apart. Returns their scale.
float RoundRowToInt8(const float* values, size_t n, int8_t* out, size_t stride);

// w: [scales.size(), k]; out likewise.
void RoundRowsToInt8(std::span<const float> w, size_t k, std::span<int8_t> out,
                     std::span<float> scales);

}  // namespace precis
