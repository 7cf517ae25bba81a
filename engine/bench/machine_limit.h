// The least time that this machine needs for a list of ops, from figures measured on it: the one
// formula of docs/performance/limit.md.
//
//   limit(op) = max(flops / peak(M, type), streamed / rate(working set) + local / rate(local))
//               + regions * fork-join
//
// Owner: engine/bench. Thread rule: values; measuring as kernels/machine_probe.h says.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "common/status.h"
#include "engine/bench/op_recorder.h"
#include "kernels/backend.h"

namespace precis {

struct GemmKey {
  uint64_t rows = 0;
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

// `working_set_bytes`: of what the op streams. Its rows and type are among figures.gemm_peaks where
// it has flops.
double OpLimitSeconds(const OpCost& cost, uint64_t working_set_bytes,
                      const MachineFigures& figures);

// The sum over all ops of the phase.
double PhaseLimitSeconds(const PhaseRecord& phase, const MachineFigures& figures);

// Fork-join and read rates with `threads` threads; takes about two seconds.
Status MeasureMemory(uint32_t threads, MachineFigures* figures);

// Adds the peaks that `record` needs and `figures` lacks, each the best of several matrices that
// fit into a cache, on a backend of its own; fork-join is known before. A type that the backend
// does not multiply counts as the next wider one.
Status MeasurePeaks(const OpRecord& record, const BackendOptions& backend, MachineFigures* figures);

}  // namespace precis
