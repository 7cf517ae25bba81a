// Stands in for kernels/cpu/machine_probe.cc in a build without OpenMP: one thread reads, whatever
// was asked for, as one thread computes there.
#include <algorithm>
#include <vector>

#include "common/clock.h"
#include "kernels/machine_probe.h"

namespace precis {
namespace {

class PlainReadProbe final : public ReadProbe {
 public:
  explicit PlainReadProbe(uint64_t most_bytes)
      : words_(std::max<uint64_t>(most_bytes / sizeof(uint64_t), 1), 1) {}

  double Rate(uint64_t working_set_bytes, double seconds) override {
    const uint64_t n = std::clamp<uint64_t>(working_set_bytes / sizeof(uint64_t), 1, words_.size());
    const SteadyClock clock;
    double best = 0;
    uint64_t sink = 0;
    for (double left = seconds; left > 0;) {
      const TimePoint start = clock.Now();
      for (uint64_t i = 0; i < n; ++i) sink ^= words_[i];
      const double took = std::max(Seconds(clock.Now() - start), 1e-9);
      best = std::max(best, static_cast<double>(n * sizeof(uint64_t)) / took);
      left -= took;
    }
    const volatile uint64_t keep = sink;
    static_cast<void>(keep);
    return best;
  }

 private:
  const std::vector<uint64_t> words_;
};

}  // namespace

std::unique_ptr<ThreadsApart> KeepThreadsApart(uint32_t /*threads*/) {
  return std::make_unique<ThreadsApart>();
}

double MeasureForkJoinSeconds(uint32_t /*threads*/, double /*seconds*/) { return 0; }

StatusOr<std::unique_ptr<ReadProbe>> MakeReadProbe(uint32_t /*threads*/, uint64_t most_bytes) {
  return std::make_unique<PlainReadProbe>(most_bytes);
}

}  // namespace precis
