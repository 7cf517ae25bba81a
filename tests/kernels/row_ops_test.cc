// Embed, RmsNorm, Activate, ArgMax of the cpu backend against ref: odd widths, both types, guards.
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

constexpr size_t kWidths[] = {1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 128, 129, 768, 1000};
constexpr size_t kRows[] = {1, 3, 7, 40};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

TEST(RowOps, EmbedEqualsRefInEveryBit) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  const std::vector<int32_t> ids = {3, 0, 9, 9, 4};
  for (const DType dtype : kTypes) {
    for (const size_t d : kWidths) {
      const auto table = Encode(RandomFloats(10 * d, 1), dtype);
      Guarded got = Guarded::Floats(ids.size() * d);
      Guarded want = Guarded::Floats(ids.size() * d);
      cpu->Embed(ids, table.data(), dtype, d, got.floats());
      ref->Embed(ids, table.data(), dtype, d, want.floats());
      EXPECT_TRUE(AllNear(got, want, DType::kF32, 0)) << d;
      EXPECT_EQ(std::memcmp(got.data(), want.data(), ids.size() * d * sizeof(float)), 0) << d;
    }
  }
}

TEST(RowOps, RmsNormIsNearRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const DType dtype : kTypes) {
    for (const size_t d : kWidths) {
      for (const size_t rows : kRows) {
        const auto x = RandomFloats(rows * d, 2, 30.0f);
        const auto gain = RandomFloats(d, 3, 2.0f);
        Guarded got(rows * d, dtype);
        Guarded want(rows * d, dtype);
        cpu->RmsNorm(x.data(), gain.data(), 1e-6f, got.View(rows, d));
        ref->RmsNorm(x.data(), gain.data(), 1e-6f, want.View(rows, d));
        EXPECT_TRUE(AllNear(got, want, dtype, 2e-6)) << rows << " x " << d;
      }
    }
  }
}

TEST(RowOps, ActivateIsNearRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const DType dtype : kTypes) {
    for (const auto kind : {ActivationKind::kRelu, ActivationKind::kGatedGelu}) {
      for (const size_t d : kWidths) {
        for (const size_t rows : kRows) {
          const size_t width = kind == ActivationKind::kGatedGelu ? 2 * d : d;
          const auto in = RandomFloats(rows * width, 4, 6.0f);
          Guarded got(rows * d, dtype);
          Guarded want(rows * d, dtype);
          cpu->Activate(kind, in.data(), got.View(rows, d));
          ref->Activate(kind, in.data(), want.View(rows, d));
          EXPECT_TRUE(AllNear(got, want, dtype, 4e-6)) << rows << " x " << d;
        }
      }
    }
  }
}

TEST(RowOps, GeluIsAccurateAcrossItsRange) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  constexpr size_t kSteps = 40001;
  std::vector<float> in(2 * kSteps, 1.0f);
  for (size_t i = 0; i < kSteps; ++i) in[i] = -100.0f + 0.005f * static_cast<float>(i);
  Guarded got = Guarded::Floats(kSteps);
  Guarded want = Guarded::Floats(kSteps);
  cpu->Activate(ActivationKind::kGatedGelu, in.data(), got.View(1, kSteps));
  ref->Activate(ActivationKind::kGatedGelu, in.data(), want.View(1, kSteps));
  EXPECT_TRUE(AllNear(got, want, DType::kF32, 5e-7));
}

TEST(RowOps, RowsDoNotDependOnTheirNeighbours) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  const size_t rows = 50;
  const size_t d = 513;
  const auto x = RandomFloats(rows * d, 5);
  const auto gain = RandomFloats(d, 6);
  Guarded all = Guarded::Floats(rows * d);
  cpu->RmsNorm(x.data(), gain.data(), 1e-6f, all.View(rows, d));
  for (size_t i = 0; i < rows; ++i) {
    Guarded one = Guarded::Floats(d);
    cpu->RmsNorm(&x[i * d], gain.data(), 1e-6f, one.View(1, d));
    EXPECT_EQ(std::memcmp(one.data(), all.floats() + i * d, d * sizeof(float)), 0) << i;
  }
}

TEST(RowOps, ArgMaxTakesTheLowestOfEquals) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const size_t vocab : {1, 7, 16, 17, 64, 100, 1001}) {
    for (size_t at = 0; at < vocab; at += vocab < 100 ? 1 : 13) {
      const size_t rows = 20;
      auto logits = RandomFloats(rows * vocab, 7);
      for (size_t i = 0; i < rows; ++i) {
        logits[i * vocab + at] = 3.0f;
        logits[i * vocab + (at + i) % vocab] = 3.0f;
      }
      std::vector<int32_t> got(rows + 1, -7);
      std::vector<int32_t> want(rows + 1, -7);
      cpu->ArgMax(logits.data(), rows, vocab, got.data());
      ref->ArgMax(logits.data(), rows, vocab, want.data());
      EXPECT_EQ(got, want) << vocab;
    }
  }
}

TEST(RowOps, ArgMaxOfInfinitiesAndNanStaysInRange) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  std::vector<float> logits(100, -INFINITY);
  int32_t id = -1;
  cpu->ArgMax(logits.data(), 1, logits.size(), &id);
  EXPECT_EQ(id, 0);
  logits.assign(100, NAN);
  cpu->ArgMax(logits.data(), 1, logits.size(), &id);
  EXPECT_EQ(id, 0);
}

}  // namespace
}  // namespace precis
