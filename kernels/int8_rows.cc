#include "kernels/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.h"
#include "kernels/ops.h"

namespace precis {

float RoundRowToInt8(const float* values, size_t n, int8_t* out, size_t stride) {
  float peak = 0;
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(values[i]);
    peak = std::max(peak, std::abs(values[i]));
  }
  const bool is_zero = !finite || peak < kLeastInt8Peak;
  const float inverse = is_zero ? 0.0f : 127.0f / peak;
  for (size_t i = 0; i < n; ++i) {
    out[i * stride] = static_cast<int8_t>(is_zero ? 0.0f : std::nearbyint(values[i] * inverse));
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return is_zero ? 0.0f : peak / 127.0f;
}

void RoundRowsToInt8(std::span<const float> w, size_t k, std::span<int8_t> out,
                     std::span<float> scales) {
  PRECIS_CHECK(w.size() == scales.size() * k && out.size() == w.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = RoundRowToInt8(w.data() + i * k, k, out.data() + i * k, 1);
  }
}

}  // namespace precis
