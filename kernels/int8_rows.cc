#include "kernels/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.h"
#include "kernels/ops.h"

namespace precis {

namespace {

// To the nearest, ties to even, for |x| below 2^22: the sum has no bits below the point. A call of
// nearbyint() for each weight was a third of the time that loading took.
float NearestInteger(float x) {
  constexpr float kNoFraction = 12582912.0f;  // 1.5 * 2^23
  return (x + kNoFraction) - kNoFraction;
}

// The largest magnitude, and whether all values are finite.
float PeakOf(const float* values, size_t n, bool* finite) {
  constexpr size_t kLanes = 8;  // that do not wait for each other
  constexpr float kMost = std::numeric_limits<float>::max();
  float peaks[kLanes] = {};
  int others = 0;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float magnitude = std::abs(values[i + j]);
      others |= !(magnitude <= kMost);
      peaks[j] = peaks[j] < magnitude ? magnitude : peaks[j];
    }
  }
  for (; i < n; ++i) {
    const float magnitude = std::abs(values[i]);
    others |= !(magnitude <= kMost);
    peaks[0] = peaks[0] < magnitude ? magnitude : peaks[0];
  }
  *finite = others == 0;
  return *std::max_element(peaks, peaks + kLanes);
}

}  // namespace

float RoundRowToInt8(const float* values, size_t n, int8_t* out, size_t stride) {
  bool finite = true;
  const float peak = PeakOf(values, n, &finite);
  const bool is_zero = !finite || peak < kLeastInt8Peak;
  const float inverse = is_zero ? 0.0f : 127.0f / peak;
  for (size_t i = 0; i < n; ++i) {
    out[i * stride] =
        static_cast<int8_t>(is_zero ? 0 : static_cast<int>(NearestInteger(values[i] * inverse)));
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
