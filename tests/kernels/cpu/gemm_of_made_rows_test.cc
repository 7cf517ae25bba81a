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
constexpr float kEps = 1e-6f;

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
        const auto weights = RandomFloats(kN * k, 1);
        cases_.push_back({types, cpu_->Pack("w", weights, kN, k, types.weights, kMaxRows).value()});
      }
    }
    ASSERT_TRUE(cpu_->Prepare({}).ok());
  }

  std::unique_ptr<Backend> cpu_;
  std::vector<Case> cases_;  // destroyed before the backend
};

void ExpectSameBits(const Guarded& got, const Guarded& want, const Case& c, size_t rows) {
  EXPECT_TRUE(got.intact());
  EXPECT_EQ(std::memcmp(got.data(), want.data(), rows * kN * sizeof(float)), 0)
      << DTypeName(c.types.weights) << " of " << DTypeName(c.types.activations) << ", " << rows
      << " x " << c.w->k();
}

TEST_P(GemmOfMadeRows, HasTheBitsOfANormAndAGemm) {
  for (const Case& c : cases_) {
    const size_t k = c.w->k();
    const auto gain = RandomFloats(k, 3, 2.0f);
    for (const size_t rows : kRows) {
      const auto x = RandomFloats(rows * k, 2, 30.0f);
      Guarded normed(rows * k, c.types.activations);
      Guarded want = Guarded::Floats(rows * kN);
      cpu_->RmsNorm({x.data(), gain.data(), kEps, normed.View(rows, k)});
      cpu_->Gemm({normed.View(rows, k), *c.w, false, want.floats()});
      Guarded scratch(rows * k, c.types.activations);
      Guarded got = Guarded::Floats(rows * kN);
      cpu_->GemmOfNorm({x.data(), gain.data(), kEps, scratch.View(rows, k), *c.w, got.floats()});
      EXPECT_TRUE(scratch.intact());
      ExpectSameBits(got, want, c, rows);
    }
  }
}

TEST_P(GemmOfMadeRows, HasTheBitsOfAnActivationAndAGemm) {
  for (const Case& c : cases_) {
    const size_t k = c.w->k();
    for (const ActivationKind kind : {ActivationKind::kRelu, ActivationKind::kGatedGelu}) {
      for (const size_t rows : kRows) {
        const auto in = RandomFloats(rows * 2 * k, 4, 6.0f);
        const auto residual = RandomFloats(rows * kN, 5);
        Guarded hidden(rows * k, c.types.activations);
        Guarded want = Guarded::Floats(rows * kN);
        std::ranges::copy(residual, want.floats());
        cpu_->Activate({kind, in.data(), hidden.View(rows, k)});
        cpu_->Gemm({hidden.View(rows, k), *c.w, true, want.floats()});
        Guarded scratch(rows * k, c.types.activations);
        Guarded got = Guarded::Floats(rows * kN);
        std::ranges::copy(residual, got.floats());
        cpu_->GemmOfActivated({kind, in.data(), scratch.View(rows, k), *c.w, got.floats()});
        EXPECT_TRUE(scratch.intact());
        ExpectSameBits(got, want, c, rows);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, GemmOfMadeRows, testing::Values(1, 2, 5));

}  // namespace
}  // namespace precis
