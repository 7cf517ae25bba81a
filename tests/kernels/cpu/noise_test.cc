// PGQA's noise: the generator's numbers, the statistics of what is left, and cpu beside ref.
#include <cmath>

#include "kernels/grouping_ops.h"
#include "kernels/splitmix.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

constexpr BackendLimits kLimits = {.num_heads = 8,
                                   .head_dim = 128,
                                   .max_source_tokens = 16,
                                   .max_target_tokens = 16,
                                   .max_decode_rows = 16,
                                   .max_encode_rows = 16};

// docs/design/attention_variants.md gives these.
TEST(Noise, NumbersAreThoseOfTheDefinition) {
  EXPECT_EQ(Mix64(0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(NoiseUniform(NoiseChain(0, 0, 0, 0, 0), 0), 13357946 * 0x1p-24f);
  EXPECT_EQ(NoiseUniform(NoiseChain(20240917, 0, 0, 0, 0), 1), 1597630 * 0x1p-24f);
  EXPECT_EQ(NoiseUniform(NoiseChain(20240917, 1, 1, 3, 17), 15), 3054435 * 0x1p-24f);
}

struct NoiseCase {
  uint32_t num_heads;
  uint32_t head_dim;
  uint32_t group_size;
  DType out;
};

constexpr NoiseCase kCases[] = {{4, 16, 2, DType::kF32}, {8, 64, 4, DType::kBF16},
                                {6, 24, 3, DType::kF32}, {3, 7, 3, DType::kBF16},
                                {2, 33, 1, DType::kF32}, {4, 1, 2, DType::kF32},
                                {8, 2, 8, DType::kF32},  {2, 128, 2, DType::kBF16}};

const std::vector<NoiseRow> kRows = {{0, 0}, {0, 1}, {20240917, 0}, {~uint64_t{0}, 70000}, {0, 1}};

Guarded RunNoise(Backend* backend, const NoiseCase& c, const std::vector<float>& x, size_t first,
                 size_t count) {
  const size_t width = size_t{c.num_heads} * c.head_dim;
  Guarded out(count * width, c.out);
  backend->grouping_ops()->SubtractNoise({.x = x.data() + first * width,
                                          .rows = std::span(kRows).subspan(first, count),
                                          .layer = 3,
                                          .kind = 1,
                                          .num_heads = c.num_heads,
                                          .head_dim = c.head_dim,
                                          .group_size = c.group_size,
                                          .out = out.View(count, width)});
  return out;
}

std::vector<float> Values(const NoiseCase& c) {
  return RandomFloats(kRows.size() * c.num_heads * c.head_dim, 5, 3.0f);
}

TEST(Noise, OfTheCpuIsNearThatOfRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  ASSERT_TRUE(cpu->Prepare(kLimits).ok() && ref->Prepare(kLimits).ok());
  for (const NoiseCase& c : kCases) {
    const auto x = Values(c);
    EXPECT_TRUE(AllNear(RunNoise(cpu.get(), c, x, 0, kRows.size()),
                        RunNoise(ref.get(), c, x, 0, kRows.size()), c.out, 1e-5))
        << c.num_heads << " x " << c.head_dim;
  }
}

TEST(Noise, RowsInABatchHaveTheBitsOfRowsAlone) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto other_threads = Cpu(5);
  ASSERT_TRUE(cpu->Prepare(kLimits).ok() && other_threads->Prepare(kLimits).ok());
  for (const NoiseCase& c : kCases) {
    const auto x = Values(c);
    const size_t row_bytes = size_t{c.num_heads} * c.head_dim * ElementBytes(c.out);
    const Guarded all = RunNoise(cpu.get(), c, x, 0, kRows.size());
    for (size_t i = 0; i < kRows.size(); ++i) {
      const Guarded one = RunNoise(other_threads.get(), c, x, i, 1);
      EXPECT_EQ(std::memcmp(one.data(), static_cast<const std::byte*>(all.data()) + i * row_bytes,
                            row_bytes),
                0);
    }
  }
}

// What is subtracted has the mean and the deviation of the values: the mean that is left is 0.
TEST(Noise, LeavesNoMean) {
  const auto ref = Ref();
  ASSERT_TRUE(ref->Prepare(kLimits).ok());
  const NoiseCase c = {4, 64, 2, DType::kF32};
  auto x = Values(c);
  for (float& value : x) value += 5.0f;
  const Guarded out = RunNoise(ref.get(), c, x, 0, kRows.size());
  for (size_t head = 0; head < kRows.size() * c.num_heads; ++head) {
    double sum = 0;
    for (size_t e = 0; e < c.head_dim; ++e) sum += out.at(head * c.head_dim + e);
    EXPECT_NEAR(sum / c.head_dim, 0.0, 1e-5);
  }
}

}  // namespace
}  // namespace precis
