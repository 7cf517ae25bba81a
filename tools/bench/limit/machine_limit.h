// The least time that this machine needs for a list of ops, from figures measured on it: the one
// formula of docs/performance/limit.md.
//
//   limit(op) = max(flops / peak(M, type), streamed / rate(working set) + local / rate(local))
//               + regions * fork-join
//
// Owner: engine/bench. Thread rule: values. Measured by tools/bench/limit/measure_machine.h.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "kernels/dtype.h"
#include "tools/bench/limit/op_recorder.h"

namespace precis {

struct GemmKey {
  uint64_t rows = 0;  // PeakRows() of the op's
  DType dtype = DType::kF32;
  auto operator<=>(const GemmKey&) const = default;
};

struct ReadRate {
  uint64_t working_set_bytes = 0;
  double bytes_per_s = 0;
};

struct MachineFigures {
  double fork_join_s = 0;
  std::vector<ReadRate> read_rates;      // by ascending working set
  std::map<GemmKey, double> gemm_peaks;  // flops a second

  // Between two measured working sets by the logarithm of the size, beyond them the nearest.
  double ReadRateAt(uint64_t working_set_bytes) const;
};

// The rows whose peak counts for an op of `rows` rows: up to 8 as they are, then the next multiple
// of 8, from 64 on of 64. More rows have no lower peak, and there are few numbers to measure.
uint64_t PeakRows(uint64_t rows);

// `working_set_bytes`: of what the op streams. The peak of an op with flops is among `figures`.
double OpLimitSeconds(const OpCost& cost, uint64_t working_set_bytes,
                      const MachineFigures& figures);

// The sum over all ops of the phase.
double PhaseLimitSeconds(const PhaseRecord& phase, const MachineFigures& figures);

}  // namespace precis
