#include "tools/bench/limit/machine_limit.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "common/check.h"

namespace precis {

uint64_t PeakRows(uint64_t rows) {
  const uint64_t step = rows <= 8 ? 1 : rows <= 64 ? 8 : 64;
  return (rows + step - 1) / step * step;
}

double MachineFigures::ReadRateAt(uint64_t working_set_bytes) const {
  PRECIS_CHECK(!read_rates.empty());
  const auto above =
      std::ranges::lower_bound(read_rates, working_set_bytes, {}, &ReadRate::working_set_bytes);
  if (above == read_rates.begin()) return read_rates.front().bytes_per_s;
  if (above == read_rates.end()) return read_rates.back().bytes_per_s;
  const ReadRate& below = *std::prev(above);
  const auto log_size = [](uint64_t bytes) { return std::log2(static_cast<double>(bytes)); };
  const double share = (log_size(working_set_bytes) - log_size(below.working_set_bytes)) /
                       (log_size(above->working_set_bytes) - log_size(below.working_set_bytes));
  return below.bytes_per_s + share * (above->bytes_per_s - below.bytes_per_s);
}

double OpLimitSeconds(const OpCost& cost, uint64_t working_set_bytes,
                      const MachineFigures& figures) {
  double arithmetic = 0;
  if (cost.flops > 0) {
    arithmetic =
        static_cast<double>(cost.flops) / figures.gemm_peaks.at({PeakRows(cost.rows), cost.dtype});
  }
  double memory = 0;
  if (cost.streamed_bytes > 0) {
    memory += static_cast<double>(cost.streamed_bytes) / figures.ReadRateAt(working_set_bytes);
  }
  if (cost.local_bytes > 0) {
    memory += static_cast<double>(cost.local_bytes) / figures.ReadRateAt(cost.local_bytes);
  }
  return std::max(arithmetic, memory) + cost.regions * figures.fork_join_s;
}

double PhaseLimitSeconds(const PhaseRecord& phase, const MachineFigures& figures) {
  const uint64_t working_set = phase.WorkingSetBytes();
  double seconds = 0;
  for (const auto& [cost, total] : phase.ops) {
    seconds += static_cast<double>(total.count) * OpLimitSeconds(cost, working_set, figures);
  }
  return seconds;
}

}  // namespace precis
