// GEMM of the cpu backend against ref, and the promise that a row's bits depend on that row alone:
// as the backend chooses among its GEMMs, and with oneDNN alone.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/gemm_invariance.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

struct Shape {
  size_t n;
  size_t k;
  bool bias = false;
};
constexpr Shape kShapes[] = {{1, 1},        {1, 7},        {7, 17},         {17, 64},
                             {64, 1},       {33, 2},       {96, 65},        {63, 127},
                             {768, 200},    {1, 1, true},  {1, 7, true},    {7, 17, true},
                             {64, 1, true}, {33, 2, true}, {130, 96, true}, {64, 64, true}};
constexpr size_t kMaxRows = 210;
constexpr size_t kRowCounts[] = {1,  2,  3,  5,   7,   8,   9,   16,  17, 31,
                                 33, 64, 65, 127, 129, 145, 192, 203, 210};
struct Types {
  DType weights;
  DType activations;
};
constexpr Types kTypes[] = {{DType::kF32, DType::kF32},
                            {DType::kBF16, DType::kBF16},
                            {DType::kI8, DType::kBF16},
                            {DType::kI8, DType::kF32}};

struct Case {
  Types types;
  Shape shape;
  std::unique_ptr<PackedMatrix> w;
  std::unique_ptr<PackedMatrix> ref_w;
  std::vector<std::byte> in;  // [kMaxRows, k]
  std::vector<float> start;   // [kMaxRows, n]: what is added to
};

// A backend that has no GEMM of its own: its kernels know no ISA of this name. Null when this
// machine lacks the tested ISA.
std::unique_ptr<Backend> OneDnnOnly() {
  StatusOr<Isa> isa = ChooseIsa(TestedIsa());
  if (!isa.ok()) return nullptr;
  if (isa->name != "avx2") isa->name = "any";
  return std::make_unique<CpuBackend>(*isa, 2, GemmEngine::Make(2).value());
}

// Everything packed into one backend, as a model does.
class GemmTest : public ::testing::Test {
 protected:
  void SetUp() override { PackAllInto(Cpu()); }

  void PackAllInto(std::unique_ptr<Backend> backend) {
    cpu_ = std::move(backend);
    PRECIS_SKIP_WITHOUT(cpu_);
    for (const Types types : kTypes) {
      for (const Shape shape : kShapes) AddCase(types, shape);
    }
    ASSERT_TRUE(cpu_->Prepare({}).ok());
    ASSERT_TRUE(ref_->Prepare({}).ok());
    EXPECT_GE(cases_.size(), std::size(kShapes));
  }

  void AddCase(Types types, Shape shape) {
    const DType dtype = types.weights;
    const RandomMatrix matrix(shape.n, shape.k, shape.bias);
    auto w = cpu_->Pack(matrix.ToPack(dtype, kMaxRows));
    if (!Takes(*cpu_, dtype)) {
      EXPECT_EQ(w.status().code(), absl::StatusCode::kInvalidArgument);
      return;
    }
    ASSERT_TRUE(w.ok()) << w.status();
    EXPECT_EQ((*w)->n(), shape.n);
    EXPECT_EQ((*w)->k(), shape.k);
    EXPECT_EQ((*w)->dtype(), dtype);
    EXPECT_EQ((*w)->has_bias(), shape.bias);
    EXPECT_GE((*w)->bytes(), shape.n * shape.k * ElementBytes(dtype));
    cases_.push_back({types, shape, *std::move(w),
                      ref_->Pack(matrix.ToPack(dtype, kMaxRows)).value(),
                      Encode(RandomFloats(kMaxRows * shape.k, 2), types.activations),
                      RandomFloats(kMaxRows * shape.n, 3)});
  }

  // Rows [first, first + rows) of the case's input, as an exact copy.
  Guarded Run(Backend* backend, const Case& c, const PackedMatrix& w, size_t first, size_t rows,
              bool accumulate) {
    const size_t row_bytes = c.shape.k * ElementBytes(c.types.activations);
    std::vector<std::byte> in(c.in.begin() + static_cast<ptrdiff_t>(first * row_bytes),
                              c.in.begin() + static_cast<ptrdiff_t>((first + rows) * row_bytes));
    Guarded out = Guarded::Floats(rows * c.shape.n);
    std::copy_n(&c.start[first * c.shape.n], out.size(), out.floats());
    backend->Gemm({{in.data(), c.types.activations, rows, c.shape.k}, w, accumulate, out.floats()});
    return out;
  }

  std::unique_ptr<Backend> cpu_;
  std::unique_ptr<Backend> ref_ = Ref();
  std::vector<Case> cases_;
};

class AnyGemmTest : public GemmTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    PackAllInto(GetParam() == std::string_view("Chosen") ? Cpu() : OneDnnOnly());
  }
};

TEST_P(AnyGemmTest, IsNearRefForEveryShapeAndNumberOfRows) {
  for (const Case& c : cases_) {
    const double tolerance = 1e-6 * (1 + std::sqrt(static_cast<double>(c.shape.k)));
    for (const bool accumulate : {false, true}) {
      const Guarded want = Run(ref_.get(), c, *c.ref_w, 0, kMaxRows, accumulate);
      for (const size_t rows : kRowCounts) {
        const Guarded got = Run(cpu_.get(), c, *c.w, 0, rows, accumulate);
        EXPECT_TRUE(AllNear(got, want, DType::kF32, tolerance))
            << DTypeName(c.types.weights) << " n " << c.shape.n << " k " << c.shape.k << " rows "
            << rows << " accumulate " << accumulate << " bias " << c.shape.bias;
      }
    }
  }
}

TEST_P(AnyGemmTest, RowsHaveTheSameBitsForEveryNumberOfRowsAndPlace) {
  for (const Case& c : cases_) {
    const size_t row_bytes = c.shape.n * sizeof(float);
    for (const bool accumulate : {false, true}) {
      const Guarded all = Run(cpu_.get(), c, *c.w, 0, kMaxRows, accumulate);
      for (size_t rows = 1; rows <= 40; ++rows) {
        const size_t first = (rows * 37) % (kMaxRows - rows);
        const Guarded some = Run(cpu_.get(), c, *c.w, first, rows, accumulate);
        EXPECT_EQ(
            std::memcmp(some.data(), static_cast<const std::byte*>(all.data()) + first * row_bytes,
                        rows * row_bytes),
            0)
            << DTypeName(c.types.weights) << " n " << c.shape.n << " k " << c.shape.k << " rows "
            << rows << " bias " << c.shape.bias;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Gemms, AnyGemmTest, ::testing::Values("Chosen", "OneDnn"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(GemmTest, MakesNoPrimitiveAfterPrepare) {
  const auto& cpu = static_cast<const CpuBackend&>(*cpu_);
  const uint64_t prepared = cpu.primitives_created();
  EXPECT_GT(prepared, 0u);
  for (const Case& c : cases_) {
    for (const size_t rows : kRowCounts) Run(cpu_.get(), c, *c.w, 0, rows, rows % 2 == 0);
  }
  EXPECT_EQ(cpu.primitives_created(), prepared);
}

TEST_F(GemmTest, DescribesIsaThreadsAndImplementations) {
  const std::string line = cpu_->Describe();
  EXPECT_NE(line.find("isa " + std::string(cpu_->isa())), std::string::npos) << line;
  EXPECT_NE(line.find("2 threads"), std::string::npos) << line;
  EXPECT_NE(line.find("f32 "), std::string::npos) << line;
  EXPECT_EQ(line.find("ref"), std::string::npos) << line;
}

// More threads than a narrow matrix has panels, and numbers that its panels do not divide by.
TEST(Gemm, HasTheSameBitsOnAnyNumberOfThreads) {
  constexpr size_t kRows = 33;
  const auto in = Encode(RandomFloats(kRows * 77, 2), DType::kBF16);
  for (const DType dtype : {DType::kBF16, DType::kI8}) {
    for (const size_t n : {size_t{5}, size_t{40}, size_t{230}}) {
      const RandomMatrix matrix(n, 77, /*has_bias=*/n != 40);
      std::vector<std::vector<float>> results;
      for (const uint32_t threads : {1, 2, 3, 7}) {
        const auto cpu = Cpu(threads);
        PRECIS_SKIP_WITHOUT(cpu);
        const auto w = cpu->Pack(matrix.ToPack(dtype, kRows));
        if (!w.ok() || !PanelGemm::Has(**w)) continue;
        ASSERT_TRUE(cpu->Prepare({}).ok());
        for (const size_t rows : {size_t{1}, kRows}) {
          std::vector<float> out(rows * n, 0.25f);
          auto copy = std::vector<std::byte>(in.begin(), in.begin() + ptrdiff_t(rows * 77 * 2));
          cpu->Gemm({{copy.data(), DType::kBF16, rows, 77}, **w, true, out.data()});
          results.push_back(std::move(out));
        }
      }
      for (size_t i = 2; i < results.size(); ++i) {
        EXPECT_EQ(results[i], results[i % 2]) << DTypeName(dtype) << " n " << n << " " << i;
      }
    }
  }
}

// A value that is not finite reaches its own row alone, also where rows are padded.
TEST(Gemm, KeepsNaNWithinItsRow) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  if (!Takes(*cpu, DType::kBF16)) GTEST_SKIP() << "no bf16 weights here";
  constexpr size_t kN = 20, kK = 33;
  const auto w = cpu->Pack(RandomMatrix(kN, kK, true).ToPack(DType::kBF16, 2)).value();
  ASSERT_TRUE(cpu->Prepare({}).ok());
  auto values = RandomFloats(2 * kK, 2);
  values[kK] = NAN;
  auto in = Encode(values, DType::kBF16);
  std::vector<float> out(2 * kN);
  cpu->Gemm({{in.data(), DType::kBF16, 2, kK}, *w, false, out.data()});
  for (size_t i = 0; i < kN; ++i) {
    EXPECT_TRUE(std::isfinite(out[i]));
    EXPECT_TRUE(std::isnan(out[kN + i]));
  }
}

TEST(Gemm, SaysWhichTypesAreMultipliedInPanels) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  if (!Takes(*cpu, DType::kBF16)) GTEST_SKIP() << "no bf16 weights here";
  EXPECT_NE(cpu->Describe().find("none yet"), std::string::npos);
  const auto w = cpu->Pack(RandomMatrix(2, 3, false).ToPack(DType::kBF16, 1)).value();
  ASSERT_TRUE(cpu->Prepare({}).ok());
  const bool said = cpu->Describe().find("bf16 in panels") != std::string::npos;
  EXPECT_EQ(said, PanelGemm::Has(*w)) << cpu->Describe();
}

TEST(Gemm, MatricesOfOneShapeShareTheirPrimitives) {
  const auto one = Cpu();
  PRECIS_SKIP_WITHOUT(one);
  const auto two = Cpu();
  const RandomMatrix matrix(32, 48, false);
  std::vector<std::unique_ptr<PackedMatrix>> kept;
  kept.push_back(one->Pack(matrix.ToPack(DType::kF32, 64)).value());
  for (const size_t max_rows : {size_t{16}, size_t{64}, size_t{32}}) {
    kept.push_back(two->Pack(matrix.ToPack(DType::kF32, max_rows)).value());
  }
  ASSERT_TRUE(one->Prepare({}).ok());
  ASSERT_TRUE(two->Prepare({}).ok());
  EXPECT_EQ(static_cast<CpuBackend&>(*one).primitives_created(),
            static_cast<CpuBackend&>(*two).primitives_created());
}

// A bias is added once to what a GEMM writes and once to what it adds, after int8's scales.
TEST(Gemm, AddsTheBiasToEveryRow) {
  constexpr size_t kN = 35, kRows = 19;
  const std::vector<float> zeros(kN * 4);
  const std::vector<float> bias = RandomFloats(kN, 9, 100.0f);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    const auto cpu = Cpu();
    PRECIS_SKIP_WITHOUT(cpu);
    if (!Takes(*cpu, dtype)) continue;
    const auto w = cpu->Pack({"w", zeros, kN, 4, dtype, kRows, bias}).value();
    ASSERT_TRUE(cpu->Prepare({}).ok());
    const DType in_dtype = cpu->activation_dtype(dtype);
    auto in = Encode(RandomFloats(kRows * 4, 1), in_dtype);
    for (const size_t rows : {size_t{1}, kRows}) {
      Guarded out = Guarded::Floats(rows * kN);
      cpu->Gemm({{in.data(), in_dtype, rows, 4}, *w, false, out.floats()});
      for (size_t i = 0; i < rows * kN; ++i) EXPECT_EQ(out.at(i), bias[i % kN]) << i;
      cpu->Gemm({{in.data(), in_dtype, rows, 4}, *w, true, out.floats()});
      for (size_t i = 0; i < rows * kN; ++i) EXPECT_EQ(out.at(i), 2 * bias[i % kN]) << i;
      EXPECT_TRUE(out.intact());
    }
  }
}

TEST(Gemm, RefusesInt8WeightsWhereSumsWouldSaturate) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  if (Takes(*cpu, DType::kI8)) GTEST_SKIP() << "they would not";
  const auto w = cpu->Pack({"lm_head", RandomFloats(4, 1), 2, 2, DType::kI8, 1});
  EXPECT_EQ(w.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(w.status().message().find("lm_head"), std::string_view::npos);
}

// What a GEMM in int8 makes of the largest bytes: no sum of products may saturate.
TEST(Gemm, SumsTheLargestBytesExactly) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  constexpr size_t kN = 64, kK = 4096;
  if (!Takes(*cpu, DType::kI8)) GTEST_SKIP() << "no int8 weights here";
  const auto w = cpu->Pack({"w", std::vector<float>(kN * kK, 127.0f), kN, kK, DType::kI8, 1});
  ASSERT_TRUE(w.ok()) << w.status();
  ASSERT_TRUE(cpu->Prepare({}).ok());
  std::vector<float> in(kK, 127.0f);
  std::vector<float> out(kN);
  cpu->Gemm({{in.data(), DType::kF32, 1, kK}, **w, false, out.data()});
  EXPECT_EQ(out, std::vector<float>(kN, 127.0f * 127 * kK));
}

TEST(Gemm, SaysNaNOfAnInt8RowThatHasOne) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  if (!Takes(*cpu, DType::kI8)) GTEST_SKIP() << "no int8 weights here";
  const auto w = cpu->Pack(RandomMatrix(20, 33, true).ToPack(DType::kI8, 2)).value();
  ASSERT_TRUE(cpu->Prepare({}).ok());
  auto in = RandomFloats(2 * 33, 2);
  in[32] = NAN;
  std::vector<float> out(2 * 20);
  cpu->Gemm({{in.data(), DType::kF32, 2, 33}, *w, false, out.data()});
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(std::isnan(out[i]));
    EXPECT_TRUE(std::isfinite(out[20 + i]));
  }
}

TEST(RowBuckets, AreOneTwoFourEightThenSixteensThenSixtyFours) {
  EXPECT_EQ(RowBuckets(1), (std::vector<size_t>{1}));
  EXPECT_EQ(RowBuckets(3), (std::vector<size_t>{1, 2, 4}));
  EXPECT_EQ(RowBuckets(8), (std::vector<size_t>{1, 2, 4, 8}));
  EXPECT_EQ(RowBuckets(33), (std::vector<size_t>{1, 2, 4, 8, 16, 32, 48}));
  EXPECT_EQ(RowBuckets(193),
            (std::vector<size_t>{1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128, 192, 256}));
}

// A GEMM that adds `noise(bucket, row)` to what it should give.
std::vector<bool> Invariant(const std::vector<size_t>& rows,
                            const std::function<float(size_t, size_t)>& noise) {
  const GemmShape shape{3, 1, DType::kF32};
  return FindInvariantBuckets(
      shape, rows, [&](size_t bucket, bool accumulate, const void* in, float* out) {
        for (size_t i = 0; i < rows[bucket]; ++i) {
          for (size_t j = 0; j < 3; ++j) {
            const float y = static_cast<const float*>(in)[i] + noise(bucket, i);
            out[i * 3 + j] = accumulate ? out[i * 3 + j] + y : y;
          }
        }
      });
}

TEST(GemmInvariance, KeepsAllBucketsThatAgree) {
  EXPECT_EQ(Invariant({1, 2, 4, 8, 16}, [](size_t, size_t) { return 0.0f; }),
            std::vector<bool>(5, true));
}

TEST(GemmInvariance, DropsABucketWithOtherBits) {
  EXPECT_EQ(Invariant({1, 2, 4, 8, 16}, [](size_t b, size_t) { return b == 2 ? 1e-3f : 0.0f; }),
            (std::vector<bool>{true, true, false, true, true}));
}

TEST(GemmInvariance, DropsABucketWhoseBitsDependOnTheRowsPlace) {
  EXPECT_EQ(Invariant({1, 2, 4, 8, 16},
                      [](size_t b, size_t i) { return b == 4 && i == 13 ? 1e-3f : 0.0f; }),
            (std::vector<bool>{true, true, true, true, false}));
}

TEST(GemmInvariance, FindsOneBucketWhenAllDiffer) {
  EXPECT_EQ(Invariant({1, 2, 8}, [](size_t b, size_t) { return 0.1f * static_cast<float>(b); }),
            (std::vector<bool>{false, false, true}));
}

}  // namespace
}  // namespace precis
