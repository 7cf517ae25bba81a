#include "tools/bench/limit/measure_machine.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <vector>

#include "common/clock.h"
#include "engine/api/machine.h"
#include "kernels/machine_probe.h"

namespace precis {
namespace {

constexpr uint64_t kLeastWorkingSet = uint64_t{256} << 10;
constexpr uint64_t kMostWorkingSet = uint64_t{512} << 20;
constexpr double kSecondsAFigure = 0.03;  // of a round; of a peak: each candidate
constexpr int kFewestRounds = 3;
constexpr int kMostRounds = 8;
constexpr double kBetter = 1.02;      // times that a figure must rise by for another round
constexpr double kShortest = 0.1e-3;  // seconds that are worth timing

// Matrices [n, k] of which the best counts: half a megabyte to two, as bf16.
struct Candidate {
  size_t n;
  size_t k;
};
constexpr Candidate kCandidates[] = {{512, 512}, {1024, 512}, {512, 1024}, {1024, 1024}};

// A matrix to measure with, and what it is multiplied by.
class GemmProbe {
 public:
  static StatusOr<std::unique_ptr<GemmProbe>> Make(Backend& backend, const Candidate& shape,
                                                   DType dtype, size_t max_rows) {
    std::vector<float> weights(shape.n * shape.k);
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = static_cast<float>(i % 251) * 0.001f - 0.125f;
    }
    auto probe = std::make_unique<GemmProbe>();
    PRECIS_ASSIGN_OR_RETURN(probe->matrix_,
                            backend.Pack({"probe", weights, shape.n, shape.k, dtype, max_rows}));
    probe->in_dtype_ = backend.activation_dtype(dtype);
    probe->in_.resize(max_rows * shape.k * ElementBytes(probe->in_dtype_));
    probe->out_.resize(max_rows * shape.n);
    return probe;
  }

  // Flops a second of the best calls within `seconds`; several calls are timed together. One
  // fork-join is taken off each, because the limit counts it on its own, but a fifth of the call at
  // most: begin and end of a region overlap with work.
  double Rate(Backend& backend, size_t rows, double fork_join_s, double seconds) {
    const SteadyClock clock;
    const Activations in{in_.data(), in_dtype_, rows, matrix_->k()};
    double shortest = HUGE_VAL;
    size_t calls = 1;
    for (double left = seconds; left > 0;) {
      const TimePoint start = clock.Now();
      for (size_t i = 0; i < calls; ++i) backend.Gemm({in, *matrix_, false, out_.data()});
      const double took = std::max(Seconds(clock.Now() - start), 1e-9);
      shortest = std::min(shortest, took / static_cast<double>(calls));
      left -= took;
      if (took < kShortest) calls *= 2;
    }
    const double flops = 2.0 * static_cast<double>(rows * matrix_->n() * matrix_->k());
    return flops / std::max(shortest - fork_join_s, shortest * 4 / 5);
  }

 private:
  std::unique_ptr<PackedMatrix> matrix_;
  DType in_dtype_ = DType::kF32;
  std::vector<std::byte> in_;
  std::vector<float> out_;
};

using GemmProbes = std::vector<std::unique_ptr<GemmProbe>>;

// The types of which a peak is asked for, widest last.
std::vector<DType> Fallbacks(DType dtype) {
  if (dtype == DType::kI8) return {DType::kI8, DType::kBF16, DType::kF32};
  if (dtype == DType::kBF16) return {DType::kBF16, DType::kF32};
  return {DType::kF32};
}

// Probes of all candidates, of the first type that the backend has.
StatusOr<GemmProbes> MakeGemmProbes(Backend& backend, DType dtype, size_t max_rows) {
  Status error;
  for (const DType type : Fallbacks(dtype)) {
    GemmProbes probes;
    for (const Candidate& shape : kCandidates) {
      auto probe = GemmProbe::Make(backend, shape, type, max_rows);
      error = probe.status();
      if (!error.ok()) break;
      probes.push_back(*std::move(probe));
    }
    if (error.ok()) return probes;
  }
  return error;
}

// The peaks that the record's ops need: types, and for each the rows.
std::map<DType, std::set<uint64_t>> PeaksOf(const RunRecord& record) {
  std::map<DType, std::set<uint64_t>> peaks;
  for (const PhaseRecord& phase : record.phases) {
    for (const auto& [cost, total] : phase.ops) {
      if (cost.flops > 0) peaks[cost.dtype].insert(PeakRows(cost.rows));
    }
  }
  return peaks;
}

class Measurement {
 public:
  Measurement(const RunRecord& record, MachineFigures* figures)
      : peaks_(PeaksOf(record)), figures_(figures) {}

  Status Prepare(const BackendOptions& options) {
    threads_ = std::max(options.threads, 1u);
    const uint64_t memory = DetectMemoryLimitBytes();
    const uint64_t most = memory == 0 ? kMostWorkingSet : std::min(kMostWorkingSet, memory / 8);
    if (figures_->read_rates.empty()) {
      uint64_t size = kLeastWorkingSet;
      do {
        figures_->read_rates.push_back({size, 0});
        size *= 2;
      } while (size <= most);
    }
    PRECIS_ASSIGN_OR_RETURN(reads_,
                            MakeReadProbe(threads_, figures_->read_rates.back().working_set_bytes));
    PRECIS_ASSIGN_OR_RETURN(backend_, MakeBackend(options));
    for (const auto& [dtype, rows] : peaks_) {
      PRECIS_ASSIGN_OR_RETURN(probes_[dtype], MakeGemmProbes(*backend_, dtype, *rows.rbegin()));
    }
    return backend_->Prepare({1, 64, 1, 1, 1, 1});
  }

  // True where a figure has become better.
  bool Round() {
    better_ = false;
    const double fork_join_s = MeasureForkJoinSeconds(threads_, kSecondsAFigure);
    if (figures_->fork_join_s == 0 || fork_join_s < figures_->fork_join_s) {
      better_ = better_ || fork_join_s * kBetter < figures_->fork_join_s;
      figures_->fork_join_s = fork_join_s;
    }
    for (ReadRate& rate : figures_->read_rates) {
      Raise(&rate.bytes_per_s, reads_->Rate(rate.working_set_bytes, kSecondsAFigure));
    }
    for (const auto& [dtype, all_rows] : peaks_) {
      for (const uint64_t rows : all_rows) {
        for (const auto& probe : probes_[dtype]) {
          Raise(&figures_->gemm_peaks[{rows, dtype}],
                probe->Rate(*backend_, rows, figures_->fork_join_s, kSecondsAFigure));
        }
      }
    }
    return better_;
  }

 private:
  void Raise(double* figure, double measured) {
    better_ = better_ || measured > *figure * kBetter;
    *figure = std::max(*figure, measured);
  }

  const std::map<DType, std::set<uint64_t>> peaks_;
  MachineFigures* const figures_;
  uint32_t threads_ = 1;
  std::unique_ptr<ReadProbe> reads_;
  std::unique_ptr<Backend> backend_;
  std::map<DType, GemmProbes> probes_;  // before the backend: destroyed first
  bool better_ = false;
};

}  // namespace

Status MeasureFor(const RunRecord& record, const BackendOptions& backend, MachineFigures* figures) {
  const auto apart = KeepThreadsApart(std::max(backend.threads, 1u));
  Measurement measurement(record, figures);
  PRECIS_RETURN_IF_ERROR(measurement.Prepare(backend));
  for (int round = 0; round < kMostRounds; ++round) {
    if (!measurement.Round() && round + 1 >= kFewestRounds) break;
  }
  // What is smaller is read no slower.
  for (size_t i = figures->read_rates.size() - 1; i > 0; --i) {
    double& smaller = figures->read_rates[i - 1].bytes_per_s;
    smaller = std::max(smaller, figures->read_rates[i].bytes_per_s);
  }
  return OkStatus();
}

}  // namespace precis
