#include "tools/bench/arrivals.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace precis {
namespace {

// Sebastiano Vigna's public-domain generator, in 0 to 1: the standard's distributions differ
// between libraries.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  double Uniform() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

}  // namespace

std::vector<double> PoissonArrivals(uint64_t seed, double rate_per_s, size_t count) {
  SplitMix64 random(seed);
  std::vector<double> arrivals(count);
  double at = 0;
  for (double& arrival : arrivals) arrival = at += -std::log1p(-random.Uniform()) / rate_per_s;
  return arrivals;
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
  const auto at =
      values.begin() + static_cast<ptrdiff_t>(std::clamp<size_t>(rank, 1, values.size()) - 1);
  std::ranges::nth_element(values, at);
  return *at;
}

StatusOr<double> FindHighestRate(const RateSearch& search,
                                 const std::function<StatusOr<bool>(double rate)>& holds) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double held = 0;
  double failed = kNone;
  double rate = search.first;
  for (uint32_t i = 0; i < search.trials && failed > held * search.ratio; ++i) {
    PRECIS_ASSIGN_OR_RETURN(const bool ok, holds(rate));
    (ok ? held : failed) = rate;
    rate = failed == kNone ? held * 2 : held == 0 ? failed / 2 : std::sqrt(held * failed);
  }
  return held;
}

}  // namespace precis
