// The formula of docs/performance/limit.md on a machine that was made up, and that a real one is
// measured in full.
#include "tools/bench/limit/machine_limit.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tools/bench/limit/measure_machine.h"

namespace precis {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// 100 GB/s up to 1 MiB, 10 GB/s at 4 MiB and above; 1 TFLOP/s at one row, 2 at 32.
MachineFigures MadeUp() {
  MachineFigures figures;
  figures.fork_join_s = 1e-6;
  figures.read_rates = {{kMiB, 100e9}, {4 * kMiB, 10e9}};
  figures.gemm_peaks = {{{1, DType::kBF16}, 1e12}, {{32, DType::kBF16}, 2e12}};
  return figures;
}

OpCost Gemm(uint64_t rows, uint64_t flops, uint64_t streamed, uint64_t local) {
  return {.kind = OpKind::kGemm,
          .dtype = DType::kBF16,
          .rows = rows,
          .flops = flops,
          .streamed_bytes = streamed,
          .local_bytes = local,
          .regions = 1};
}

TEST(MachineFigures, ReadRateGoesByTheLogarithmOfTheWorkingSet) {
  const MachineFigures figures = MadeUp();
  EXPECT_DOUBLE_EQ(figures.ReadRateAt(1), 100e9);
  EXPECT_DOUBLE_EQ(figures.ReadRateAt(kMiB), 100e9);
  EXPECT_DOUBLE_EQ(figures.ReadRateAt(2 * kMiB), 55e9);
  EXPECT_DOUBLE_EQ(figures.ReadRateAt(4 * kMiB), 10e9);
  EXPECT_DOUBLE_EQ(figures.ReadRateAt(400 * kMiB), 10e9);
}

TEST(OpLimit, IsArithmeticWhereThatTakesLonger) {
  // 2e9 flops at 2e12 a second; 1e6 bytes at 10e9.
  EXPECT_DOUBLE_EQ(OpLimitSeconds(Gemm(32, 2'000'000'000, 1'000'000, 0), 4 * kMiB, MadeUp()),
                   1e-3 + 1e-6);
}

TEST(OpLimit, IsMemoryWhereThatTakesLonger) {
  // What is streamed goes by the phase's working set, what stays by its own size.
  EXPECT_DOUBLE_EQ(OpLimitSeconds(Gemm(1, 1000, 1'000'000, 500'000), 4 * kMiB, MadeUp()),
                   1e-4 + 5e-6 + 1e-6);
}

TEST(OpLimit, OfAnOpWithoutArithmeticNeedsNoPeak) {
  const OpCost norm{.kind = OpKind::kNorm, .rows = 77, .local_bytes = 100'000};
  EXPECT_DOUBLE_EQ(OpLimitSeconds(norm, 4 * kMiB, MadeUp()), 1e-6);
}

TEST(OpLimit, RoundsRowsUp) {
  EXPECT_EQ(PeakRows(1), 1u);
  EXPECT_EQ(PeakRows(7), 7u);
  EXPECT_EQ(PeakRows(9), 16u);
  EXPECT_EQ(PeakRows(64), 64u);
  EXPECT_EQ(PeakRows(65), 128u);
  EXPECT_DOUBLE_EQ(OpLimitSeconds(Gemm(27, 2'000'000'000, 0, 0), 4 * kMiB, MadeUp()), 1e-3 + 1e-6);
}

class Matrix final : public PackedMatrix {
 public:
  size_t n() const override { return 1; }
  size_t k() const override { return 1; }
  DType dtype() const override { return DType::kBF16; }
  size_t bytes() const override { return 2; }
  bool has_bias() const override { return false; }
};

TEST(PhaseLimit, AddsUpItsOpsAtThePhasesWorkingSet) {
  PhaseRecord phase;
  const Matrix a, b;
  phase.matrices = {{&a, 2 * kMiB}, {&b, kMiB}};
  phase.passes = 4;
  phase.ops[Gemm(32, 2'000'000'000, 100, 0)] = {3, 1.0, 0.1};
  // In 4 passes 4 MiB of pages: one a pass beside the matrices' three.
  const OpCost pages{.kind = OpKind::kAppendKv, .streamed_bytes = kMiB / 2};
  phase.ops[pages] = {8, 1.0, 0.1};
  EXPECT_EQ(phase.WorkingSetBytes(), 4 * kMiB);
  EXPECT_DOUBLE_EQ(PhaseLimitSeconds(phase, MadeUp()),
                   3 * (1e-3 + 1e-6) + 8 * static_cast<double>(kMiB / 2) / 10e9);
}

TEST(MeasureFor, FillsInWhatTheRecordNeeds) {
  RunRecord record;
  OpCost cost = Gemm(2, 100, 100, 100);
  cost.dtype = DType::kF32;
  record.of(BenchPhase::kDecode).ops[cost] = {1, 1.0, 1.0};
  MachineFigures figures;
  ASSERT_TRUE(MeasureFor(record, {.name = "ref", .threads = 1}, &figures).ok());
  EXPECT_EQ(figures.fork_join_s, 0);  // one thread
  ASSERT_GE(figures.read_rates.size(), 2u);
  for (size_t i = 0; i < figures.read_rates.size(); ++i) {
    EXPECT_GT(figures.read_rates[i].bytes_per_s, 0);
    if (i == 0) continue;
    EXPECT_GT(figures.read_rates[i].working_set_bytes, figures.read_rates[i - 1].working_set_bytes);
    EXPECT_LE(figures.read_rates[i].bytes_per_s, figures.read_rates[i - 1].bytes_per_s);
  }
  ASSERT_EQ(figures.gemm_peaks.size(), 1u);
  const double peak = figures.gemm_peaks.at({2, DType::kF32});
  EXPECT_GT(peak, 0);
  EXPECT_TRUE(std::isfinite(peak));
  const double limit = OpLimitSeconds(cost, 100, figures);
  EXPECT_GE(limit, 100 / peak);

  // What is known only gets better.
  figures.gemm_peaks.begin()->second = 1e30;
  figures.read_rates.front().bytes_per_s = 1e30;
  ASSERT_TRUE(MeasureFor(record, {.name = "ref", .threads = 1}, &figures).ok());
  EXPECT_EQ(figures.gemm_peaks.at({2, DType::kF32}), 1e30);
  EXPECT_EQ(figures.read_rates.front().bytes_per_s, 1e30);
}

}  // namespace
}  // namespace precis
