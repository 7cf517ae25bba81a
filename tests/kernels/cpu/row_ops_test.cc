// Embed, Norm, Activate of the cpu backend against ref: odd widths, both types, guards.
#include <algorithm>

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
  const std::vector<uint32_t> positions = {0, 5, 1, 2, 5};
  for (const DType dtype : kTypes) {
    for (const size_t d : kWidths) {
      const auto table = Encode(RandomFloats(10 * d, 1), dtype);
      const auto position_table = RandomFloats(6 * d, 2);
      const EmbedParams plain{ids, table.data(), dtype, d, nullptr};
      EmbedParams scaled = plain;
      scaled.scale = 22.627417f;
      EmbedParams placed = plain;
      placed.position_table = position_table.data();
      placed.positions = positions;
      for (EmbedParams p : {plain, scaled, placed}) {
        Guarded got = Guarded::Floats(ids.size() * d);
        Guarded want = Guarded::Floats(ids.size() * d);
        p.out = got.floats();
        cpu->Embed(p);
        p.out = want.floats();
        ref->Embed(p);
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 0)) << d;
        EXPECT_EQ(std::memcmp(got.data(), want.data(), ids.size() * d * sizeof(float)), 0) << d;
      }
    }
  }
}

TEST(RowOps, EmbedScalesBeforeItAddsPositions) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const std::vector<int32_t> ids = {1, 0};
  const std::vector<uint32_t> positions = {2, 0};
  const std::vector<float> table = {1, 2, 3, 4};
  const std::vector<float> position_table = {0.5f, 0.25f, 9, 9, 100, 200};
  for (const auto& backend : {Cpu(), Ref()}) {
    std::vector<float> out(4);
    backend->Embed(
        {ids, table.data(), DType::kF32, 2, out.data(), 10.0f, position_table.data(), positions});
    EXPECT_EQ(out, (std::vector<float>{130, 240, 10.5f, 20.25f}));
  }
}

TEST(RowOps, NormIsNearRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const NormKind kind : kNorms) {
    for (const DType dtype : kTypes) {
      for (const size_t d : kWidths) {
        const RandomNorm norm(kind, d);
        for (const size_t rows : kRows) {
          const auto x = RandomFloats(rows * d, 2, 30.0f);
          Guarded got(rows * d, dtype);
          Guarded want(rows * d, dtype);
          cpu->Norm({x.data(), norm.Weights(), got.View(rows, d)});
          ref->Norm({x.data(), norm.Weights(), want.View(rows, d)});
          EXPECT_TRUE(AllNear(got, want, dtype, 3e-6)) << rows << " x " << d;
        }
      }
    }
  }
}

// What is written as f32 has the bits of a norm whose `out` is f32, whether or not `out` is there,
// and may be what is read.
TEST(RowOps, NormWritesTheResidualStream) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  for (const auto& backend : {Cpu(), Ref()}) {
    for (const NormKind kind : kNorms) {
      for (const size_t d : kWidths) {
        const RandomNorm norm(kind, d);
        const size_t rows = 7;
        const auto x = RandomFloats(rows * d, 2, 30.0f);
        Guarded want = Guarded::Floats(rows * d);
        backend->Norm({x.data(), norm.Weights(), want.View(rows, d)});
        Guarded out(rows * d, DType::kBF16);
        Guarded stream = Guarded::Floats(rows * d);
        std::ranges::copy(x, stream.floats());
        backend->Norm({stream.floats(), norm.Weights(), out.View(rows, d), stream.floats()});
        EXPECT_TRUE(AllNear(stream, want, DType::kF32, 0)) << d;
        for (size_t i = 0; i < rows * d; ++i) {
          ASSERT_EQ(out.at(i), BF16ToF32(F32ToBF16(want.at(i)))) << i << " of " << d;
        }
        Guarded alone = Guarded::Floats(rows * d);
        backend->Norm({x.data(), norm.Weights(), {nullptr, DType::kF32, rows, d}, alone.floats()});
        EXPECT_TRUE(AllNear(alone, want, DType::kF32, 0)) << d;
      }
    }
  }
}

// A mean far from 0 takes digits from the values, but not from what the norm makes of them; nor
// does one value far from the others.
TEST(RowOps, LayerNormKeepsTheDigitsOfRowsFarFromZero) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const size_t d : {7, 65, 768, 1000}) {
    const RandomNorm norm(NormKind::kLayer, d);
    for (const float mean : {1e3f, -1e3f, 1e5f}) {
      for (const bool outlier : {false, true}) {
        auto x = RandomFloats(d, 2, 1.7320508f);  // of deviation 1
        for (float& value : x) value += mean;
        if (outlier) x[0] = -20 * mean;
        Guarded got = Guarded::Floats(d);
        Guarded want = Guarded::Floats(d);
        cpu->Norm({x.data(), norm.Weights(), got.View(1, d)});
        ref->Norm({x.data(), norm.Weights(), want.View(1, d)});
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 4e-6)) << mean << " " << d << " " << outlier;
      }
    }
  }
}

TEST(RowOps, LayerNormOfEqualValuesIsItsShift) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  for (const size_t d : kWidths) {
    const RandomNorm norm(NormKind::kLayer, d);
    const std::vector<float> x(d, 1234.567f);
    Guarded got = Guarded::Floats(d);
    cpu->Norm({x.data(), norm.Weights(), got.View(1, d)});
    for (size_t i = 0; i < d; ++i) EXPECT_NEAR(got.at(i), norm.shift[i], 1e-4) << i << " of " << d;
  }
}

TEST(RowOps, ActivateIsNearRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const DType dtype : kTypes) {
    for (const ActivationKind kind : kActivations) {
      for (const bool gated : {false, true}) {
        for (const size_t d : kWidths) {
          for (const size_t rows : kRows) {
            const auto in = RandomFloats(rows * d * (gated ? 2 : 1), 4, 6.0f);
            Guarded got(rows * d, dtype);
            Guarded want(rows * d, dtype);
            cpu->Activate({kind, gated, in.data(), got.View(rows, d)});
            ref->Activate({kind, gated, in.data(), want.View(rows, d)});
            EXPECT_TRUE(AllNear(got, want, dtype, 4e-6)) << rows << " x " << d;
          }
        }
      }
    }
  }
}

TEST(RowOps, ActivationsAreAccurateAcrossTheirRange) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  constexpr size_t kSteps = 40001;
  for (const float step : {0.001f, 0.005f}) {  // from -20 and from -100
    std::vector<float> in(kSteps);
    for (size_t i = 0; i < kSteps; ++i) in[i] = step * (static_cast<float>(i) - 20000.0f);
    for (const ActivationKind kind : kActivations) {
      Guarded got = Guarded::Floats(kSteps);
      Guarded want = Guarded::Floats(kSteps);
      cpu->Activate({kind, false, in.data(), got.View(1, kSteps)});
      ref->Activate({kind, false, in.data(), want.View(1, kSteps)});
      EXPECT_TRUE(AllNear(got, want, DType::kF32, 5e-7)) << static_cast<int>(kind);
    }
  }
}

// Also in digits: gelu's of numbers far below 0, where 1 + erf(x) has none, and silu's.
TEST(RowOps, SmallActivationsHaveTheirDigits) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  constexpr size_t kSteps = 10001;
  std::vector<float> in(kSteps);
  for (size_t i = 0; i < kSteps; ++i) in[i] = -0.001f * static_cast<float>(i);
  for (const ActivationKind kind : {ActivationKind::kGelu, ActivationKind::kSilu}) {
    Guarded got = Guarded::Floats(kSteps);
    Guarded want = Guarded::Floats(kSteps);
    cpu->Activate({kind, false, in.data(), got.View(1, kSteps)});
    ref->Activate({kind, false, in.data(), want.View(1, kSteps)});
    for (size_t i = 0; i < kSteps; ++i) {
      ASSERT_NEAR(got.at(i), want.at(i), 8e-6 * std::abs(want.at(i))) << in[i];
    }
  }
}

TEST(RowOps, ActivationsOfExtremesAreThoseOfTheirLimits) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const std::vector<float> in = {-0.0f, 0.0f, 1e30f, -1e30f, 3e38f, -3e38f, INFINITY, NAN};
  for (const auto& backend : {Cpu(), Ref()}) {
    for (const auto kind : {ActivationKind::kRelu, ActivationKind::kGelu, ActivationKind::kSilu}) {
      Guarded got = Guarded::Floats(in.size());
      backend->Activate({kind, false, in.data(), got.View(1, in.size())});
      const std::vector<float> want = {0, 0, 1e30f, 0, 3e38f, 0, INFINITY};
      for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_EQ(got.at(i), want[i]) << in[i] << ", " << static_cast<int>(kind);
      }
      EXPECT_TRUE(std::signbit(got.at(0)) || kind == ActivationKind::kRelu);
      EXPECT_TRUE(std::isnan(got.at(7)));
    }
  }
}

TEST(RowOps, RowsDoNotDependOnTheirNeighbours) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  const size_t rows = 50;
  const size_t d = 513;
  const auto x = RandomFloats(rows * d, 5);
  for (const NormKind kind : kNorms) {
    const RandomNorm norm(kind, d);
    Guarded all = Guarded::Floats(rows * d);
    cpu->Norm({x.data(), norm.Weights(), all.View(rows, d)});
    for (size_t i = 0; i < rows; ++i) {
      Guarded one = Guarded::Floats(d);
      cpu->Norm({&x[i * d], norm.Weights(), one.View(1, d)});
      EXPECT_EQ(std::memcmp(one.data(), all.floats() + i * d, d * sizeof(float)), 0) << i;
    }
  }
}

// Filled slots move, with K, V and scales of all layers, of V in whole words; everything else of
// the target page stays.
TEST(RowOps, CopySlotsCopiesFilledSlotsOnly) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  constexpr uint32_t kSlots = 5;
  const std::vector<KvRegion> layers = {{0, 256, kSlots, 2, 3, DType::kBF16},
                                        {512, 768, kSlots, 1, 7, DType::kF32},
                                        {1024, 1152, kSlots, 2, 4, DType::kI8, 1088, 1216}};
  constexpr size_t kPage = 1280;
  std::vector<uint8_t> bytes(3 * kPage);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / kPage);
  const std::vector<uint8_t> before = bytes;
  const std::vector<PageCopyRef> copies = {{2, 0, 3}};
  cpu->CopySlots({copies, {reinterpret_cast<std::byte*>(bytes.data()), kPage}, layers});
  std::vector<uint8_t> want = before;
  for (const KvRegion& r : layers) {
    const auto copy = [&](size_t at, size_t n) {
      std::copy_n(before.begin() + static_cast<ptrdiff_t>(2 * kPage + at), n,
                  want.begin() + static_cast<ptrdiff_t>(at));
    };
    const uint32_t pack = 4 / static_cast<uint32_t>(ElementBytes(r.dtype));
    const uint32_t k_words = (r.head_dim + pack - 1) / pack;
    const uint32_t v_words = (kSlots + pack - 1) / pack;
    for (uint32_t g = 0; g < r.num_kv_heads; ++g) {
      for (uint32_t word = 0; word < k_words; ++word) {
        copy(r.k_offset + (g * k_words + word) * kSlots * 4, 3 * 4);
      }
      copy(r.v_offset + g * v_words * r.head_dim * 4, (3 + pack - 1) / pack * r.head_dim * 4);
      const size_t scales = r.dtype == DType::kI8 ? 3 * sizeof(float) : 0;
      for (size_t b = 0; b < scales; ++b) {
        for (const size_t offset : {r.k_scale_offset, r.v_scale_offset}) {
          const size_t at = offset + g * kSlots * sizeof(float) + b;
          want[at] = before[2 * kPage + at];
        }
      }
    }
  }
  EXPECT_EQ(bytes, want);
}

}  // namespace
}  // namespace precis
