// What a load is made of that can be computed: Poisson arrivals, percentiles, the search for the
// highest rate. bench/comparison/static_batching.py has the same arrivals for the same seed.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/status.h"

namespace precis {

// Seconds from the begin at which `count` requests of a Poisson process come, the first at its
// first gap. Gaps are -ln(1 - u) / rate with u of SplitMix64(seed), so that another rate has the
// same pattern, stretched.
std::vector<double> PoissonArrivals(uint64_t seed, double rate_per_s, size_t count);

// The least value that `share` of the values do not exceed (nearest rank). 0 without values.
double Percentile(std::vector<double> values, double share);

struct RateSearch {
  double first = 1;      // where to begin
  double ratio = 1.05;   // of the lowest rate that fails to the highest that holds: close enough
  uint32_t trials = 12;  // at most
};

// The highest rate that was seen to hold: doubles or halves until one holds and one fails, then
// takes their geometric mean. 0 where none held. An error of `holds` ends it.
StatusOr<double> FindHighestRate(const RateSearch& search,
                                 const std::function<StatusOr<bool>(double rate)>& holds);

}  // namespace precis
