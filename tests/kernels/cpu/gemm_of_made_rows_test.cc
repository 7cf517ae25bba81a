// GEMMs of the cpu backend whose rows are made on the way: the bits of a norm or an activation and
// then a GEMM, of any number of rows and threads.
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

struct Types {
  DType weights;
  DType activations;
};
constexpr Types kTypes[] = {{DType::kF32, DType::kF32},
                            {DType::kBF16, DType::kBF16},
                            {DType::kI8, DType::kBF16},
                            {DType::kI8, DType::kF32}};
constexpr size_t kN = 70;
constexpr size_t kKs[] = {1, 17, 64, 2048};
constexpr size_t kRows[] = {1, 4, 40};
constexpr size_t kMaxRows = 40;

struct Case {
  Types types;
  std::unique_ptr<PackedMatrix> w;
};

class GemmOfMadeRows : public ::testing::TestWithParam<uint32_t> {  // threads
 protected:
  void SetUp() override {
    cpu_ = Cpu(GetParam());
    PRECIS_SKIP_WITHOUT(cpu_);
    for (const Types types : kTypes) {
      if (!Takes(*cpu_, types.weights)) continue;
      for (const size_t k : kKs) {
        for (const bool bias : {false, true}) {
          const RandomMatrix matrix(kN, k, bias);
          cases_.push_back({types, cpu_->Pack(matrix.ToPack(types.weights, kMaxRows)).value()});
        }
      }
    }
    ASSERT_TRUE(cpu_->Prepare({}).ok());
  }

  void ExpectGemmOfActivated(const Case& c, ActivationKind kind, bool gated);

  std::unique_ptr<Backend> cpu_;
  std::vector<Case> cases_;  // destroyed before the backend
};

void ExpectSameBits(const Guarded& got, const Guarded& want, const Case& c, size_t rows) {
  EXPECT_TRUE(got.intact());
  EXPECT_EQ(std::memcmp(got.data(), want.data(), rows * kN * sizeof(float)), 0)
      << DTypeName(c.types.weights) << " of " << DTypeName(c.types.activations) << ", " << rows
      << " x " << c.w->k();
}

void GemmOfMadeRows::ExpectGemmOfActivated(const Case& c, ActivationKind kind, bool gated) {
  const size_t k = c.w->k();
  for (const size_t rows : kRows) {
    const auto in = RandomFloats(rows * k * (gated ? 2 : 1), 4, 6.0f);
    const auto residual = RandomFloats(rows * kN, 5);
    Guarded hidden(rows * k, c.types.activations);
    Guarded want = Guarded::Floats(rows * kN);
    std::ranges::copy(residual, want.floats());
    cpu_->Activate({kind, gated, in.data(), hidden.View(rows, k)});
    cpu_->Gemm({hidden.View(rows, k), *c.w, true, want.floats()});
    Guarded scratch(rows * k, c.types.activations);
    Guarded got = Guarded::Floats(rows * kN);
    std::ranges::copy(residual, got.floats());
    cpu_->GemmOfActivated({kind, gated, in.data(), scratch.View(rows, k), *c.w, got.floats()});
    EXPECT_TRUE(scratch.intact());
    ExpectSameBits(got, want, c, rows);
  }
}

TEST_P(GemmOfMadeRows, HasTheBitsOfANormAndAGemm) {
  for (const Case& c : cases_) {
    const size_t k = c.w->k();
    for (const NormKind kind : kNorms) {
      const RandomNorm norm(kind, k);
      for (const size_t rows : kRows) {
        const auto x = RandomFloats(rows * k, 2, 30.0f);
        Guarded normed(rows * k, c.types.activations);
        Guarded want = Guarded::Floats(rows * kN);
        cpu_->Norm({x.data(), norm.Weights(), normed.View(rows, k)});
        cpu_->Gemm({normed.View(rows, k), *c.w, false, want.floats()});
        Guarded scratch(rows * k, c.types.activations);
        Guarded got = Guarded::Floats(rows * kN);
        cpu_->GemmOfNorm({x.data(), norm.Weights(), scratch.View(rows, k), *c.w, got.floats()});
        EXPECT_TRUE(scratch.intact());
        ExpectSameBits(got, want, c, rows);
      }
    }
  }
}

TEST_P(GemmOfMadeRows, HasTheBitsOfAnActivationAndAGemm) {
  for (const Case& c : cases_) {
    for (const ActivationKind kind : kActivations) {
      for (const bool gated : {false, true}) ExpectGemmOfActivated(c, kind, gated);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, GemmOfMadeRows, testing::Values(1, 2, 5));

}  // namespace
}  // namespace precis
