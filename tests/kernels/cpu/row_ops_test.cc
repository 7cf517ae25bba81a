// Embed, RmsNorm, Activate of the cpu backend against ref: odd widths, both types, guards.
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
      cpu->Embed({ids, table.data(), dtype, d, got.floats()});
      ref->Embed({ids, table.data(), dtype, d, want.floats()});
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
        cpu->RmsNorm({x.data(), gain.data(), 1e-6f, got.View(rows, d)});
        ref->RmsNorm({x.data(), gain.data(), 1e-6f, want.View(rows, d)});
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
          cpu->Activate({kind, in.data(), got.View(rows, d)});
          ref->Activate({kind, in.data(), want.View(rows, d)});
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
  cpu->Activate({ActivationKind::kGatedGelu, in.data(), got.View(1, kSteps)});
  ref->Activate({ActivationKind::kGatedGelu, in.data(), want.View(1, kSteps)});
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
  cpu->RmsNorm({x.data(), gain.data(), 1e-6f, all.View(rows, d)});
  for (size_t i = 0; i < rows; ++i) {
    Guarded one = Guarded::Floats(d);
    cpu->RmsNorm({&x[i * d], gain.data(), 1e-6f, one.View(1, d)});
    EXPECT_EQ(std::memcmp(one.data(), all.floats() + i * d, d * sizeof(float)), 0) << i;
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
