// cuBLASLt's GEMM without a device: through a library that does what cuBLASLt's manual says on the
// host's memory, opened as the real one is. And the real one, where there is one.
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <iostream>

#include "gmock/gmock.h"
#include "kernels/cuda/gemm/cublaslt_library.h"
#include "kernels/cuda/gemm/device_gemm.h"
#include "tests/kernels/kernel_testing.h"

// The runtime's memory is the host's here.
extern "C" {
cudaError_t CUDARTAPI cudaMalloc(void** data, size_t bytes) {
  *data = std::malloc(bytes);
  return cudaSuccess;
}
cudaError_t CUDARTAPI cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
const char* CUDARTAPI cudaGetErrorString(cudaError_t) { return "an error"; }
}

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Algorithms of fake_cublaslt.cc: 0 and 1 split k, 2 rounds f32 to TF32, 3 cannot do one row.
constexpr uint64_t kGood = 4;
constexpr uint64_t kGoodBF16 = 2;

class CublasLt : public ::testing::Test {
 protected:
  template <typename F>
  static F Function(const char* name) {
    void* fake = dlopen(PRECIS_FAKE_CUBLASLT, RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<F>(dlsym(fake, name));
  }
  static void Fail(const char* function) { Function<void (*)(const char*)>("FakeFail")(function); }
  static uint64_t LastAlgorithm() { return Function<uint64_t (*)()>("FakeLastAlgorithm")(); }
  static uint32_t Alignment(int of) { return Function<uint32_t (*)(int)>("FakeAlignment")(of); }
  static std::unique_ptr<cuda::DeviceGemm> Open() {
    return cuda::OpenCublasLt(PRECIS_FAKE_CUBLASLT).value();
  }
  void TearDown() override { Fail(""); }
};

TEST_F(CublasLt, ProductsAreThoseOfRefInOddShapes) {
  const auto gemm = Open();
  EXPECT_THAT(gemm->Describe(), HasSubstr(".2.3"));
  const auto ref = Ref();
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [n, k] : {std::pair<size_t, size_t>{1, 1}, {7, 3}, {17, 64}, {33, 129}}) {
      const auto w = RandomFloats(n * k, 1);
      const auto coded = Encode(w, dtype);
      const auto packed = ref->Pack({"w", w, n, k, dtype, 17}).value();
      ASSERT_TRUE(gemm->Plan(n, k, dtype, 17).ok());
      for (const size_t rows : {1, 2, 7, 17}) {
        auto in = Encode(RandomFloats(rows * k, 2), dtype);
        const Activations view{in.data(), dtype, rows, k};
        Guarded got = Guarded::Floats(rows * n);
        Guarded want = Guarded::Floats(rows * n);
        for (const bool accumulate : {false, true}) {
          const Status asked = gemm->Gemm(view, coded.data(), n, accumulate, got.floats(), nullptr);
          ref->Gemm({view, *packed, accumulate, want.floats()});
          ASSERT_TRUE(asked.ok()) << asked;
          EXPECT_TRUE(AllNear(got, want, DType::kF32, 1e-5)) << n << " " << k << " " << rows;
        }
        EXPECT_EQ(LastAlgorithm(), dtype == DType::kF32 ? kGood : kGoodBF16);
      }
    }
  }
}

TEST_F(CublasLt, TheAlignmentIsThatOfARow) {
  const auto gemm = Open();
  ASSERT_TRUE(gemm->Plan(6, 20, DType::kBF16, 8).ok());  // rows of 40 and 24 bytes
  for (const int of : {0, 1, 2, 3}) EXPECT_EQ(Alignment(of), 8u) << of;
  ASSERT_TRUE(gemm->Plan(64, 33, DType::kF32, 8).ok());
  EXPECT_EQ(Alignment(0), 4u);
  EXPECT_EQ(Alignment(1), 4u);
  EXPECT_EQ(Alignment(2), 16u);
  EXPECT_EQ(Alignment(3), 16u);
}

TEST_F(CublasLt, AProductThatFailsSaysSo) {
  const auto gemm = Open();
  ASSERT_TRUE(gemm->Plan(4, 4, DType::kF32, 2).ok());
  auto values = RandomFloats(16, 3);
  Guarded out = Guarded::Floats(8);
  const Activations in{values.data(), DType::kF32, 2, 4};
  Fail("Matmul");
  const Status failed = gemm->Gemm(in, values.data(), 4, false, out.floats(), nullptr);
  EXPECT_THAT(failed.message(), AllOf(HasSubstr("cublasLtMatmul "), HasSubstr("INTERNAL_ERROR")));
  Fail("");
  EXPECT_TRUE(gemm->Gemm(in, values.data(), 4, false, out.floats(), nullptr).ok());
}

TEST_F(CublasLt, OperandsThatAreNotAlignedAsPlannedAreAFailure) {
  const auto gemm = Open();
  ASSERT_TRUE(gemm->Plan(4, 4, DType::kF32, 1).ok());
  auto values = RandomFloats(32, 3);
  Guarded out = Guarded::Floats(4);
  const Status failed = gemm->Gemm({values.data() + 1, DType::kF32, 1, 4}, values.data(), 4, false,
                                   out.floats(), nullptr);
  EXPECT_THAT(failed.message(), HasSubstr("aligned"));
}

TEST_F(CublasLt, WhatFailsIsNamed) {
  for (const char* function : {"Create", "MatmulDescCreate", "MatmulDescSetAttribute"}) {
    Fail(function);
    EXPECT_THAT(cuda::OpenCublasLt(PRECIS_FAKE_CUBLASLT).status().message(),
                AllOf(HasSubstr(std::string("cublasLt") + function + " "),
                      HasSubstr("INTERNAL_ERROR"), HasSubstr(PRECIS_FAKE_CUBLASLT)));
  }
  Fail("");
  const auto gemm = Open();
  for (const char* function :
       {"MatrixLayoutCreate", "MatrixLayoutSetAttribute", "MatmulPreferenceCreate",
        "MatmulPreferenceSetAttribute", "MatmulAlgoGetHeuristic", "MatmulAlgoCheck",
        "MatmulAlgoConfigGetAttribute", "MatmulAlgoCapGetAttribute"}) {
    Fail(function);
    EXPECT_THAT(gemm->Plan(4, 4, DType::kF32, 2).message(),
                HasSubstr(std::string("cublasLt") + function + " "));
  }
  Fail("good algorithms");
  EXPECT_THAT(gemm->Plan(4, 5, DType::kF32, 2).message(),
              AllOf(HasSubstr("f32 [4, 5]"), HasSubstr("NOT_SUPPORTED")));
  EXPECT_EQ(gemm->Plan(4, 4, DType::kI8, 2).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(CublasLt, ALibraryThatIsNotOursIsRefusedByName) {
  const auto none = cuda::OpenCublasLt("/nowhere/libcublasLt.so").status();
  EXPECT_EQ(none.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(none.message(),
              AllOf(HasSubstr("/nowhere/libcublasLt.so"), HasSubstr("No such file")));
  const auto lacking = cuda::OpenCublasLt(PRECIS_LACKING_CUBLASLT).status();
  EXPECT_EQ(lacking.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(lacking.message(), AllOf(HasSubstr(PRECIS_LACKING_CUBLASLT),
                                       HasSubstr("no function cublasLtMatmulAlgoCheck")));
  Fail("GetVersion");
  EXPECT_THAT(cuda::OpenCublasLt(PRECIS_FAKE_CUBLASLT).status().message(),
              HasSubstr("is cuBLASLt 11"));
}

TEST(RealCublasLt, HasAllFunctionsAndOpensOrSaysWhyNot) {
  const std::string path = PRECIS_REAL_CUBLASLT;
  if (path.empty()) GTEST_SKIP() << "no libcublasLt on this machine";
  const auto library = cuda::OpenCublasLtLibrary(path);
  ASSERT_TRUE(library.ok()) << library.status();
  const auto gemm = cuda::OpenCublasLt(path);
  if (gemm.ok()) {
    EXPECT_THAT((*gemm)->Describe(), HasSubstr("cuBLASLt "));
  } else {
    std::cout << gemm.status() << std::endl;
    EXPECT_EQ(gemm.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(gemm.status().message(),
                AllOf(HasSubstr("cublasLtCreate of " + path), HasSubstr("CUBLAS_STATUS_")));
  }
}

}  // namespace
}  // namespace precis
