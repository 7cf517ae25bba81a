#include "engine/model/grouping/bias_folding.h"

#include "common/check.h"

namespace precis {

void AddValueBias(std::span<const float> w, const HeadGrouping& groups,
                  std::span<const float> value_bias, uint32_t head_dim, std::span<float> out) {
  PRECIS_CHECK(value_bias.size() == groups.groups.size() * head_dim);
  PRECIS_CHECK(!out.empty() && w.size() % out.size() == 0);
  const size_t inner = w.size() / out.size();
  for (size_t row = 0; row < out.size(); ++row) {
    const std::span<const float> of_row = w.subspan(row * inner, inner);
    double sum = out[row];
    for (size_t g = 0; g < groups.groups.size(); ++g) {
      for (const uint32_t head : groups.groups[g]) {
        for (size_t i = 0; i < head_dim; ++i) {
          sum += double{of_row[head * size_t{head_dim} + i]} * value_bias[g * head_dim + i];
        }
      }
    }
    out[row] = static_cast<float>(sum);
  }
}

}  // namespace precis
