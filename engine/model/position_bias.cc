#include "engine/model/position_bias.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace precis {

uint32_t RelativeBucket(int64_t relative_position, bool bidirectional, uint32_t num_buckets,
                        uint32_t max_distance) {
  uint32_t first = 0;
  int64_t distance = 0;
  if (bidirectional) {
    num_buckets /= 2;
    if (relative_position > 0) first = num_buckets;
    distance = std::abs(relative_position);
  } else {
    distance = std::max<int64_t>(-relative_position, 0);
  }
  const uint32_t exact = num_buckets / 2;
  if (distance < exact) return first + static_cast<uint32_t>(distance);
  // Every operation in float32 and in this order, as torch does it.
  const float log_distance = std::log(static_cast<float>(distance) / static_cast<float>(exact));
  const auto log_range = static_cast<float>(std::log(static_cast<double>(max_distance) / exact));
  const float far = log_distance / log_range * static_cast<float>(num_buckets - exact);
  // The smaller one first: a far value of an enormous distance must not overflow the cast.
  const float most = static_cast<float>(num_buckets - exact - 1);
  return first + exact + static_cast<uint32_t>(std::min(far, most));
}

ExpandedBias ExpandBias(std::span<const float> table, uint32_t num_heads, bool bidirectional,
                        uint32_t num_buckets, uint32_t max_distance, uint32_t max_before,
                        uint32_t max_after) {
  PRECIS_CHECK(table.size() == size_t{num_buckets} * num_heads);
  ExpandedBias bias;
  bias.stride = size_t{max_before} + 1 + max_after;
  bias.zero = max_before;
  bias.values.resize(num_heads * bias.stride);
  for (size_t i = 0; i < bias.stride; ++i) {
    const int64_t relative = static_cast<int64_t>(i) - static_cast<int64_t>(bias.zero);
    const uint32_t bucket = RelativeBucket(relative, bidirectional, num_buckets, max_distance);
    for (size_t head = 0; head < num_heads; ++head) {
      bias.values[head * bias.stride + i] = table[size_t{bucket} * num_heads + head];
    }
  }
  return bias;
}

}  // namespace precis
