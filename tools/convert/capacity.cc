#include "tools/convert/capacity.h"

#include <limits>
#include <utility>

#include "common/check.h"

namespace precis {

CapacitySplit::CapacitySplit(std::vector<std::vector<double>> errors) : errors_(std::move(errors)) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  for (const auto& layer : errors_) most_ += static_cast<uint32_t>(layer.size());
  best_.assign(errors_.size() + 1, std::vector<double>(most_ + 1, kInfinite));
  chosen_.assign(errors_.size() + 1, std::vector<uint32_t>(most_ + 1, 0));
  best_[0][0] = 0;
  for (size_t layer = 0; layer < errors_.size(); ++layer) {
    for (uint32_t before = 0; before <= most_; ++before) {
      if (best_[layer][before] == kInfinite) continue;
      for (uint32_t groups = 1; groups <= errors_[layer].size(); ++groups) {
        const double error = best_[layer][before] + errors_[layer][groups - 1];
        if (error >= best_[layer + 1][before + groups]) continue;
        best_[layer + 1][before + groups] = error;
        chosen_[layer + 1][before + groups] = groups;
      }
    }
  }
}

std::vector<uint32_t> CapacitySplit::CountsOf(uint32_t total) const {
  PRECIS_CHECK(total >= least() && total <= most());
  std::vector<uint32_t> counts(errors_.size());
  for (size_t layer = errors_.size(); layer > 0; --layer) {
    counts[layer - 1] = chosen_[layer][total];
    total -= counts[layer - 1];
  }
  return counts;
}

}  // namespace precis
