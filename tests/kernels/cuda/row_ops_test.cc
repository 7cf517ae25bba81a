// The CUDA kernels of single rows, emulated or on a device, against ref: odd widths, all types, all
// schedules.
#include <array>
#include <cmath>

#include "kernels/grouping_ops.h"
#include "tests/kernels/cuda/kernel_backend.h"
#include "tests/kernels/score_testing.h"

namespace precis {
namespace {

constexpr size_t kWidths[] = {1, 7, 31, 33, 64, 129, 1000};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

TEST(CudaRowOps, EmbedEqualsRefInEveryBit) {
  KernelBackend cuda;
  const auto ref = Ref();
  const std::vector<int32_t> ids = {3, 0, 9, 9, 4};
  InAllSchedules([&] {
    for (const DType dtype : kTypes) {
      for (const size_t d : kWidths) {
        const auto table = Encode(RandomFloats(10 * d, 1), dtype);
        Guarded got = Guarded::Floats(ids.size() * d);
        Guarded want = Guarded::Floats(ids.size() * d);
        cuda.Embed({ids, table.data(), dtype, d, got.floats()});
        ref->Embed({ids, table.data(), dtype, d, want.floats()});
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 0)) << d;
        EXPECT_EQ(std::memcmp(got.data(), want.data(), ids.size() * d * sizeof(float)), 0) << d;
      }
    }
  });
}

TEST(CudaRowOps, RmsNormIsNearRef) {
  KernelBackend cuda;
  const auto ref = Ref();
  InAllSchedules([&] {
    for (const DType dtype : kTypes) {
      for (const size_t d : kWidths) {
        const auto x = RandomFloats(3 * d, 2, 30.0f);
        const auto gain = RandomFloats(d, 3, 2.0f);
        Guarded got(3 * d, dtype);
        Guarded want(3 * d, dtype);
        cuda.RmsNorm({x.data(), gain.data(), 1e-6f, got.View(3, d)});
        ref->RmsNorm({x.data(), gain.data(), 1e-6f, want.View(3, d)});
        EXPECT_TRUE(AllNear(got, want, dtype, 2e-6)) << d;
      }
    }
  });
}

TEST(CudaRowOps, RmsNormHasARowsBitsWhateverIsBesideIt) {
  KernelBackend cuda;
  constexpr size_t kWidth = 513;
  const auto x = RandomFloats(9 * kWidth, 5);
  const auto gain = RandomFloats(kWidth, 6);
  Guarded all = Guarded::Floats(9 * kWidth);
  cuda.RmsNorm({x.data(), gain.data(), 1e-6f, all.View(9, kWidth)});
  for (size_t i = 0; i < 9; ++i) {
    Guarded one = Guarded::Floats(kWidth);
    cuda.RmsNorm({&x[i * kWidth], gain.data(), 1e-6f, one.View(1, kWidth)});
    EXPECT_EQ(std::memcmp(one.data(), all.floats() + i * kWidth, kWidth * sizeof(float)), 0) << i;
  }
}

TEST(CudaRowOps, ActivateIsNearRefAcrossItsRange) {
  KernelBackend cuda;
  const auto ref = Ref();
  InAllSchedules([&] {
    for (const DType dtype : kTypes) {
      for (const auto kind : {ActivationKind::kRelu, ActivationKind::kGatedGelu}) {
        for (const size_t d : kWidths) {
          const auto in = RandomFloats(3 * 2 * d, 4, d == 1000 ? 30.0f : 6.0f);
          Guarded got(3 * d, dtype);
          Guarded want(3 * d, dtype);
          cuda.Activate({kind, in.data(), got.View(3, d)});
          ref->Activate({kind, in.data(), want.View(3, d)});
          EXPECT_TRUE(AllNear(got, want, dtype, d == 1000 ? 4e-5 : 4e-6)) << d;
        }
      }
    }
  });
}

TEST(CudaRowOps, CopySlotsWritesTheBytesThatRefWrites) {
  KernelBackend cuda;
  const auto ref = Ref();
  const std::vector<KvRegion> layers = {
      {0, 256, 5, 2, 3, DType::kBF16},
      {512, 768, 5, 1, 7, DType::kF32},
      {1024, 1152, 5, 2, 4, DType::kI8, 1088, 1216, true, 1280},
  };
  constexpr size_t kPage = 1344;
  alignas(64) std::array<uint8_t, 4 * kPage> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / kPage);
  auto want = bytes;
  const std::vector<PageCopyRef> copies = {{2, 0, 3}, {2, 3, 5}};
  const auto pool = [](auto& memory) {
    return KvPool{reinterpret_cast<std::byte*>(memory.data()), kPage};
  };
  ref->CopySlots({copies, pool(want), layers});
  InAllSchedules([&] {
    auto got = bytes;
    cuda.CopySlots({copies, pool(got), layers});
    EXPECT_EQ(got, want);
  });
}

TEST(CudaRowOps, ScoreReductionEqualsRef) {
  KernelBackend cuda;
  const auto ref = Ref();
  InAllSchedules([&] {
    for (const auto& [vocab, width] : {std::pair<size_t, size_t>{1, 1}, {257, 64}, {1001, 1001}}) {
      for (const size_t most : {1, 2, 16, 32}) {  // 32: of 16 beams
        auto scores = RandomFloats(3 * vocab, static_cast<uint32_t>(vocab + most), 30.0f);
        // Many equals, and some that are impossible.
        for (size_t i = 0; i < scores.size(); ++i) {
          scores[i] = i % 5 == 3 ? -INFINITY : std::round(scores[i]);
        }
        Reductions got(3, most, most > 1);
        Reductions want(3, most, most > 1);
        Reduce(cuda, scores, vocab, width, &got);
        Reduce(*ref, scores, vocab, width, &want);
        ExpectSame(got, want);
      }
    }
  });
}

// More than any request has; of this many a vocabulary is sorted.
TEST(CudaRowOps, ScoreReductionHasAsManyBestAsItSays) {
  KernelBackend cuda;
  const auto ref = Ref();
  const auto scores = RandomFloats(1300, 5, 30.0f);
  Reductions got(1, cuda::kMostBest, true);
  Reductions want(1, cuda::kMostBest, true);
  Reduce(cuda, scores, 1300, 1100, &got);
  Reduce(*ref, scores, 1300, 1100, &want);
  EXPECT_EQ(got.rows[0].num_best, cuda::kMostBest);
  ExpectSame(got, want);
}

TEST(CudaRowOps, AnImpossibleRowHasNoBestAndOneOfNanNoMaximum) {
  KernelBackend cuda;
  for (const size_t width : {7, 100}) {
    Reductions none(1, 4, true);
    Reduce(cuda, std::vector<float>(100, -INFINITY), 100, width, &none);
    EXPECT_EQ(none.rows[0].num_best, 0u);
    EXPECT_EQ(none.rows[0].sum, 0);
    Reductions nan(1, 4, true);
    Reduce(cuda, std::vector<float>(100, NAN), 100, width, &nan);
    EXPECT_EQ(nan.rows[0].num_best, 0u);
    EXPECT_TRUE(std::isnan(nan.rows[0].max));
    for (const bool sums :
         {false, true}) {  // one of NaN is enough, in a row that asks for no sum as well
      std::vector<float> scores(200, 1.0f);
      scores[5] = NAN;
      Reductions one(2, 4, sums);
      Reduce(cuda, scores, 100, width, &one);
      EXPECT_TRUE(std::isnan(one.rows[0].max));
      EXPECT_FALSE(std::isnan(one.rows[1].max));
    }
  }
}

TEST(CudaRowOps, ScoresAreTakenOutAndKeptAsRefDoes) {
  KernelBackend cuda;
  const auto ref = Ref();
  constexpr size_t kRows = 5;
  constexpr size_t kVocab = 400;
  const auto scores = RandomFloats(kRows * 300, 3);
  std::vector<ScorePlace> places;  // in two blocks
  for (uint32_t i = 0; i < 150; ++i) {
    places.push_back({i % 5, static_cast<int32_t>(100 + i * 2 % 299), (i + 40) % 150});
  }
  const std::vector<uint32_t> rows = {4, 0, 3};
  struct Edited {
    std::vector<float> scores, values, kept;
    bool operator==(const Edited&) const = default;
  };
  const auto edit = [&](Backend* backend) {
    Edited e{scores, std::vector<float>(150, -5), std::vector<float>(kRows * kVocab, -5)};
    backend->KeepScores({e.scores.data(), 300, 100, rows, kVocab, e.kept.data()});
    backend->ExtractScores({e.scores.data(), 300, 100, places, e.values.data()});
    return e;
  };
  const Edited want = edit(ref.get());
  EXPECT_EQ(want.scores[0], -INFINITY);
  InAllSchedules([&] { EXPECT_EQ(edit(&cuda), want); });
}

TEST(CudaRowOps, SubtractNoiseIsNearRef) {
  KernelBackend cuda;
  const auto ref = Ref();
  const std::vector<NoiseRow> rows = {{7, 0}, {7, 1}, {0xffffffffffffffffu, 4000000000u}};
  InAllSchedules([&] {
    for (const DType dtype : kTypes) {
      for (const uint32_t head_dim : {1u, 2u, 33u, 64u}) {
        const size_t width = size_t{6} * head_dim;
        const auto x = RandomFloats(rows.size() * width, 8, 3.0f);
        Guarded got(rows.size() * width, dtype);
        Guarded want(rows.size() * width, dtype);
        SubtractNoiseParams p{x.data(), rows, 2, 1, 6, head_dim, 3, got.View(rows.size(), width)};
        cuda.grouping_ops()->SubtractNoise(p);
        p.out = want.View(rows.size(), width);
        ref->grouping_ops()->SubtractNoise(p);
        EXPECT_TRUE(AllNear(got, want, dtype, 1e-5)) << head_dim;
      }
    }
  });
}

}  // namespace
}  // namespace precis
