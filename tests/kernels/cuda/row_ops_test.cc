// The CUDA kernels of single rows, emulated or on a device, against ref: odd widths, all types, all
// schedules.
#include <algorithm>
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
  const std::vector<uint32_t> positions = {0, 5, 1, 2, 5};
  InAllSchedules([&] {
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
          cuda.Embed(p);
          p.out = want.floats();
          ref->Embed(p);
          EXPECT_TRUE(AllNear(got, want, DType::kF32, 0)) << d;
          EXPECT_EQ(std::memcmp(got.data(), want.data(), ids.size() * d * sizeof(float)), 0) << d;
        }
      }
    }
  });
}

TEST(CudaRowOps, NormIsNearRef) {
  KernelBackend cuda;
  const auto ref = Ref();
  InAllSchedules([&] {
    for (const NormKind kind : kNorms) {
      for (const DType dtype : kTypes) {
        for (const size_t d : kWidths) {
          const RandomNorm norm(kind, d);
          const auto x = RandomFloats(3 * d, 2, 30.0f);
          Guarded got(3 * d, dtype);
          Guarded want(3 * d, dtype);
          cuda.Norm({x.data(), norm.Weights(), got.View(3, d)});
          ref->Norm({x.data(), norm.Weights(), want.View(3, d)});
          EXPECT_TRUE(AllNear(got, want, dtype, 3e-6)) << d;
        }
      }
    }
  });
}

TEST(CudaRowOps, NormHasARowsBitsWhateverIsBesideIt) {
  KernelBackend cuda;
  constexpr size_t kWidth = 513;
  const auto x = RandomFloats(9 * kWidth, 5);
  for (const NormKind kind : kNorms) {
    const RandomNorm norm(kind, kWidth);
    Guarded all = Guarded::Floats(9 * kWidth);
    cuda.Norm({x.data(), norm.Weights(), all.View(9, kWidth)});
    for (size_t i = 0; i < 9; ++i) {
      Guarded one = Guarded::Floats(kWidth);
      cuda.Norm({&x[i * kWidth], norm.Weights(), one.View(1, kWidth)});
      EXPECT_EQ(std::memcmp(one.data(), all.floats() + i * kWidth, kWidth * sizeof(float)), 0) << i;
    }
  }
}

TEST(CudaRowOps, NormWritesTheResidualStream) {
  KernelBackend cuda;
  InAllSchedules([&] {
    for (const NormKind kind : kNorms) {
      for (const size_t d : kWidths) {
        const RandomNorm norm(kind, d);
        const auto x = RandomFloats(3 * d, 2, 30.0f);
        Guarded want = Guarded::Floats(3 * d);
        cuda.Norm({x.data(), norm.Weights(), want.View(3, d)});
        Guarded out(3 * d, DType::kBF16);
        Guarded stream = Guarded::Floats(3 * d);
        std::ranges::copy(x, stream.floats());
        cuda.Norm({stream.floats(), norm.Weights(), out.View(3, d), stream.floats()});
        EXPECT_TRUE(AllNear(stream, want, DType::kF32, 0)) << d;
        EXPECT_TRUE(AllNear(out, want, DType::kBF16, 0)) << d;
        Guarded alone = Guarded::Floats(3 * d);
        cuda.Norm({x.data(), norm.Weights(), {nullptr, DType::kBF16, 3, d}, alone.floats()});
        EXPECT_TRUE(AllNear(alone, want, DType::kF32, 0)) << d;
      }
    }
  });
}

TEST(CudaRowOps, LayerNormKeepsTheDigitsOfRowsFarFromZero) {
  KernelBackend cuda;
  const auto ref = Ref();
  for (const size_t d : {7, 129, 1000}) {
    const RandomNorm norm(NormKind::kLayer, d);
    for (const float mean : {1e3f, -1e5f}) {
      for (const bool outlier : {false, true}) {
        auto x = RandomFloats(d, 2, 1.7320508f);  // of deviation 1
        for (float& value : x) value += mean;
        if (outlier) x[0] = -20 * mean;
        Guarded got = Guarded::Floats(d);
        Guarded want = Guarded::Floats(d);
        cuda.Norm({x.data(), norm.Weights(), got.View(1, d)});
        ref->Norm({x.data(), norm.Weights(), want.View(1, d)});
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 4e-6)) << mean << " " << d << " " << outlier;
      }
    }
  }
}

TEST(CudaRowOps, ActivateIsNearRefAcrossItsRange) {
  KernelBackend cuda;
  const auto ref = Ref();
  InAllSchedules([&] {
    for (const DType dtype : kTypes) {
      for (const ActivationKind kind : kActivations) {
        for (const bool gated : {false, true}) {
          for (const size_t d : kWidths) {
            const auto in = RandomFloats(3 * 2 * d, 4, d == 1000 ? 30.0f : 6.0f);
            Guarded got(3 * d, dtype);
            Guarded want(3 * d, dtype);
            cuda.Activate({kind, gated, in.data(), got.View(3, d)});
            ref->Activate({kind, gated, in.data(), want.View(3, d)});
            EXPECT_TRUE(AllNear(got, want, dtype, d == 1000 ? 4e-5 : 4e-6)) << d;
          }
        }
      }
    }
  });
}

TEST(CudaRowOps, ActivationsOfExtremesAreThoseOfTheirLimits) {
  KernelBackend cuda;
  const std::vector<float> in = {-0.0f, 0.0f, 1e30f, -1e30f, 3e38f, -3e38f, INFINITY, NAN};
  const std::vector<float> want = {0, 0, 1e30f, 0, 3e38f, 0, INFINITY};
  for (const ActivationKind kind : kActivations) {
    Guarded got = Guarded::Floats(in.size());
    cuda.Activate({kind, false, in.data(), got.View(1, in.size())});
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got.at(i), want[i]) << in[i] << ", " << static_cast<int>(kind);
    }
    EXPECT_TRUE(std::isnan(got.at(7)));
  }
}

TEST(CudaRowOps, AddBiasAddsToEveryRow) {
  for (const size_t n : kWidths) {
    const auto bias = RandomFloats(n, 1);
    InAllSchedules([&] {
      Guarded out = Guarded::Floats(3 * n);
      const auto before = RandomFloats(3 * n, 2);
      std::ranges::copy(before, out.floats());
      KernelMemory memory;
      cuda::AddBias(memory.Read(bias.data(), n), 3, n, memory.Write(out.floats(), 3 * n),
                    memory.stream());
      memory.Run();
      for (size_t i = 0; i < 3 * n; ++i) EXPECT_EQ(out.at(i), before[i] + bias[i % n]) << i;
      EXPECT_TRUE(out.intact());
    });
  }
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
