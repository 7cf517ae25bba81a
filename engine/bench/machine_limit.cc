#include "engine/bench/machine_limit.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>

#include "common/check.h"
#include "common/clock.h"
#include "engine/machine.h"
#include "kernels/machine_probe.h"

namespace precis {
namespace {

constexpr uint64_t kLeastWorkingSet = uint64_t{256} << 10;
constexpr uint64_t kMostWorkingSet = uint64_t{512} << 20;
constexpr double kSecondsARate = 0.12;
constexpr double kSecondsAPeak = 0.3;  // over all candidates

// Matrices [n, k] of which the best counts: one to eight times half a megabyte, as bf16.
struct Candidate {
  size_t n;
  size_t k;
};
constexpr Candidate kCandidates[] = {
    {512, 512}, {1024, 512}, {512, 1024}, {1024, 1024}, {2048, 512}};

// A matrix to measure with, and what it is multiplied by.
class Probe {
 public:
  static StatusOr<std::unique_ptr<Probe>> Make(Backend& backend, const Candidate& shape,
                                               DType dtype, size_t max_rows) {
    std::vector<float> weights(shape.n * shape.k);
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = static_cast<float>(i % 251) * 0.001f - 0.125f;
    }
    auto probe = std::make_unique<Probe>();
    PRECIS_ASSIGN_OR_RETURN(probe->matrix_,
                            backend.Pack("probe", weights, shape.n, shape.k, dtype, max_rows));
    probe->in_dtype_ = backend.activation_dtype(dtype);
    probe->in_.resize(max_rows * shape.k * ElementBytes(probe->in_dtype_));
    probe->out_.resize(max_rows * shape.n);
    return probe;
  }

  // Seconds of one call, the best within `budget_s`. Calls are timed several at a time.
  double BestSeconds(Backend& backend, size_t rows, double budget_s) {
    const SteadyClock clock;
    const Activations in{in_.data(), in_dtype_, rows, matrix_->k()};
    double best = HUGE_VAL;
    size_t calls = 1;
    for (double left = budget_s; left > 0;) {
      const TimePoint start = clock.Now();
      for (size_t i = 0; i < calls; ++i) backend.Gemm(in, *matrix_, false, out_.data());
      const double took = std::max(Seconds(clock.Now() - start), 1e-9);
      best = std::min(best, took / static_cast<double>(calls));
      left -= took;
      if (took < kShortest) calls *= 2;
    }
    return best;
  }
  double flops(size_t rows) const {
    return 2.0 * static_cast<double>(rows * matrix_->n() * matrix_->k());
  }

 private:
  static constexpr double kShortest = 0.5e-3;  // that is worth timing

  std::unique_ptr<PackedMatrix> matrix_;
  DType in_dtype_ = DType::kF32;
  std::vector<std::byte> in_;
  std::vector<float> out_;
};

// The types of which a peak is asked for, widest last.
std::vector<DType> Fallbacks(DType dtype) {
  if (dtype == DType::kI8) return {DType::kI8, DType::kBF16, DType::kF32};
  if (dtype == DType::kBF16) return {DType::kBF16, DType::kF32};
  return {DType::kF32};
}

// Probes of all candidates, of the first type that the backend has.
StatusOr<std::vector<std::unique_ptr<Probe>>> MakeProbes(Backend& backend, DType dtype,
                                                         size_t max_rows) {
  Status error;
  for (const DType type : Fallbacks(dtype)) {
    std::vector<std::unique_ptr<Probe>> probes;
    for (const Candidate& shape : kCandidates) {
      auto probe = Probe::Make(backend, shape, type, max_rows);
      error = probe.status();
      if (!error.ok()) break;
      probes.push_back(*std::move(probe));
    }
    if (error.ok()) return probes;
  }
  return error;
}

// What `record` multiplies, by type: the numbers of rows that have no peak yet.
std::map<DType, std::vector<uint64_t>> Missing(const OpRecord& record,
                                               const MachineFigures& figures) {
  std::map<DType, std::vector<uint64_t>> missing;
  for (const PhaseRecord& phase : record.phases) {
    for (const auto& [cost, total] : phase.ops) {
      if (cost.flops == 0 || figures.gemm_peaks.contains({cost.rows, cost.dtype})) continue;
      std::vector<uint64_t>& rows = missing[cost.dtype];
      if (std::ranges::find(rows, cost.rows) == rows.end()) rows.push_back(cost.rows);
    }
  }
  return missing;
}

}  // namespace

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
    arithmetic = static_cast<double>(cost.flops) / figures.gemm_peaks.at({cost.rows, cost.dtype});
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

Status MeasureMemory(uint32_t threads, MachineFigures* figures) {
  const uint64_t memory = DetectMemoryLimitBytes();
  const uint64_t most = memory == 0 ? kMostWorkingSet : std::min(kMostWorkingSet, memory / 8);
  std::vector<uint64_t> sizes;
  for (uint64_t size = kLeastWorkingSet; size <= most; size *= 2) sizes.push_back(size);
  if (sizes.empty()) sizes.push_back(kLeastWorkingSet);
  figures->fork_join_s = MeasureForkJoinSeconds(threads);
  PRECIS_ASSIGN_OR_RETURN(const std::vector<double> rates,
                          MeasureReadRates(threads, sizes, kSecondsARate));
  figures->read_rates.clear();
  for (size_t i = 0; i < sizes.size(); ++i) figures->read_rates.push_back({sizes[i], rates[i]});
  // What is smaller is read no slower: a lower rate was an interruption.
  for (size_t i = sizes.size() - 1; i > 0; --i) {
    ReadRate& smaller = figures->read_rates[i - 1];
    smaller.bytes_per_s = std::max(smaller.bytes_per_s, figures->read_rates[i].bytes_per_s);
  }
  return OkStatus();
}

Status MeasurePeaks(const OpRecord& record, const BackendOptions& options,
                    MachineFigures* figures) {
  const auto missing = Missing(record, *figures);
  if (missing.empty()) return OkStatus();
  PRECIS_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend, MakeBackend(options));
  std::map<DType, std::vector<std::unique_ptr<Probe>>> probes;
  for (const auto& [dtype, rows] : missing) {
    PRECIS_ASSIGN_OR_RETURN(probes[dtype],
                            MakeProbes(*backend, dtype, *std::ranges::max_element(rows)));
  }
  PRECIS_RETURN_IF_ERROR(backend->Prepare({1, 64, 1, 1, 1, 1}));
  for (const auto& [dtype, all_rows] : missing) {
    for (const uint64_t rows : all_rows) {
      double& peak = figures->gemm_peaks[{rows, dtype}];
      for (const auto& probe : probes[dtype]) {
        const double seconds =
            probe->BestSeconds(*backend, rows, kSecondsAPeak / std::size(kCandidates));
        // The call's own region counts once, as that of every op. At least half of the call is
        // work, whatever the two measurements say.
        const double work = std::max(seconds - figures->fork_join_s, seconds / 2);
        peak = std::max(peak, probe->flops(rows) / work);
      }
    }
  }
  return OkStatus();
}

}  // namespace precis
