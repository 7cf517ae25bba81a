// Stands in for kernels/cpu/machine_probe.cc in a build without OpenMP: one thread reads, whatever
// was asked for, as one thread computes there.
#include <algorithm>

#include "common/clock.h"
#include "kernels/machine_probe.h"

namespace precis {

double MeasureForkJoinSeconds(uint32_t /*threads*/) { return 0; }

StatusOr<std::vector<double>> MeasureReadRates(uint32_t /*threads*/,
                                               std::span<const uint64_t> working_sets,
                                               double seconds_each) {
  const SteadyClock clock;
  std::vector<double> rates;
  uint64_t sink = 0;
  for (const uint64_t bytes : working_sets) {
    const std::vector<uint64_t> data(std::max<uint64_t>(bytes / sizeof(uint64_t), 1), 1);
    double best = 0;
    for (double left = seconds_each; left > 0;) {
      const TimePoint start = clock.Now();
      for (const uint64_t word : data) sink ^= word;
      const double took = std::max(Seconds(clock.Now() - start), 1e-9);
      best = std::max(best, static_cast<double>(data.size() * sizeof(uint64_t)) / took);
      left -= took;
    }
    rates.push_back(best);
  }
  const volatile uint64_t keep = sink;
  static_cast<void>(keep);
  return rates;
}

}  // namespace precis
