// CudaBackend on the emulated device: what passes between host and device, and what fails. Whole
// models are in golden_test.cc.
#include "kernels/cuda/cuda_backend.h"

#include <cmath>

#include "gtest/gtest.h"
#include "kernels/device_allocator.h"
#include "tests/kernels/cuda/emulated_gemm.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

constexpr BackendLimits kLimits = {.num_heads = 2,
                                   .head_dim = 4,
                                   .max_source_tokens = 64,
                                   .max_target_tokens = 64,
                                   .max_decode_rows = 4,
                                   .max_encode_rows = 64,
                                   .vocab_size = 16};

class CudaBackendTest : public ::testing::Test {
 protected:
  void TearDown() override {
    scores_ = {};
    table_ = {};
    backend_.reset();
    simt::ResetRuntime();
  }
  void Prepare() {
    ASSERT_TRUE(backend_->Prepare(kLimits).ok());
    DeviceAllocator allocator(*backend_);
    table_ = allocator.Copy<float>(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7});
    scores_ = allocator.Copy<float>(std::vector<float>{3, 9, 1, 9, 5, 2, 8, 7});  // [2, 4]
    ASSERT_TRUE(allocator.status().ok());
  }

  std::unique_ptr<Backend> backend_ = cuda::MakeCudaBackendWith(EmulatedGemm()).value();
  DeviceArray<float> table_;
  DeviceArray<float> scores_;
};

TEST_F(CudaBackendTest, TheHostMayChangeWhatItSaidWhenAnOpReturns) {
  Prepare();
  DeviceArray<float> out(backend_->Allocate(4 * sizeof(float)).value());
  std::vector<int32_t> ids = {3, 1};
  backend_->Embed(ids, table_.data(), DType::kF32, 2, out.data());
  ids = {0, 0};
  std::vector<float> got(4);
  backend_->Download(out.data(), 16, got.data());
  EXPECT_EQ(got, (std::vector<float>{6, 7, 2, 3}));
  // The same place says something else now.
  backend_->Embed(ids, table_.data(), DType::kF32, 2, out.data());
  backend_->Download(out.data(), 16, got.data());
  EXPECT_EQ(got, (std::vector<float>{0, 1, 0, 1}));
}

TEST_F(CudaBackendTest, AnswersAreThereAfterWaitAndNotBefore) {
  Prepare();
  std::vector<TokenScore> best(4);
  std::vector<ScoreSummary> rows = {{.best = {&best[0], 2}, .wants_sum = true},
                                    {.best = {&best[2], 2}}};
  std::vector<uint32_t> kept_rows = {1};
  std::vector<float> values(3, -5);
  std::vector<float> kept(2 * 8, -5);
  backend_->KeepScores({scores_.data(), 4, 4, kept_rows, 8, kept.data()});
  backend_->TakeOutScores({scores_.data(), 4, 4, {}, values.data()});
  std::vector<ScorePlace> shifted = {{0, 5, 2}};
  backend_->TakeOutScores({scores_.data(), 4, 4, shifted, values.data()});
  backend_->SummarizeScores({scores_.data(), 4, 4, rows});
  shifted[0].value = 0;
  kept_rows[0] = 0;
  EXPECT_EQ(rows[0].num_best, 0u);
  EXPECT_EQ(values[2], -5);
  ASSERT_TRUE(backend_->Wait().ok());
  EXPECT_EQ(values, (std::vector<float>{-5, -5, 9}));
  EXPECT_EQ(std::vector<float>(kept.begin() + 12, kept.end()), (std::vector<float>{5, 2, 8, 7}));
  EXPECT_EQ(kept[4], -5);
  ASSERT_EQ(rows[0].num_best, 2u);
  EXPECT_EQ(rows[0].best[0].token, 7);
  EXPECT_EQ(rows[0].best[1].token, 4);
  EXPECT_EQ(rows[0].max, 9);
  EXPECT_NEAR(rows[0].sum, 1 + std::exp(-6.0) + std::exp(-8.0), 1e-6);
  EXPECT_EQ(rows[1].best[0].token, 6);
}

// Answers too: those of before it had to make room.
TEST_F(CudaBackendTest, AStepOfMoreThanItsRoomIsRightAndAllocatesNothing) {
  Prepare();
  constexpr uint32_t kPlaces = 8000;
  DeviceArray<float> scores(backend_->Allocate(kPlaces * sizeof(float)).value());
  std::vector<ScorePlace> places(kPlaces);
  std::vector<std::vector<float>> values(12, std::vector<float>(kPlaces));
  const uint64_t allocations = simt::CountsOfRuntime().allocations;
  const uint64_t waits = simt::CountsOfRuntime().waits;
  for (uint32_t i = 0; i < values.size(); ++i) {
    const auto from = RandomFloats(kPlaces, i);
    backend_->Upload(from.data(), kPlaces * sizeof(float), scores.data());
    for (uint32_t j = 0; j < kPlaces; ++j) places[j] = {0, static_cast<int32_t>(j), j ^ i};
    backend_->TakeOutScores({scores.data(), kPlaces, 0, places, values[i].data()});
  }
  EXPECT_GT(simt::CountsOfRuntime().waits, waits);
  ASSERT_TRUE(backend_->Wait().ok());
  EXPECT_EQ(simt::CountsOfRuntime().allocations, allocations);
  for (uint32_t i = 0; i < values.size(); ++i) {
    const auto want = RandomFloats(kPlaces, i);
    for (uint32_t j = 0; j < kPlaces; ++j) ASSERT_EQ(values[i][j ^ i], want[j]) << i << " " << j;
  }
}

TEST_F(CudaBackendTest, MemoryIsZeroUntilWritten) {
  DeviceArray<float> array(backend_->Allocate(64).value());
  std::vector<float> got(16, 1);
  backend_->Download(array.data(), 64, got.data());
  EXPECT_EQ(got, std::vector<float>(16, 0));
}

TEST_F(CudaBackendTest, SaysThatTheDeviceHasNoMoreMemory) {
  simt::RuntimeFaults().device_bytes = 1000;
  const auto memory = backend_->Allocate(1001);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(memory.status().message().find("cudaErrorMemoryAllocation"), std::string_view::npos);
  EXPECT_TRUE(backend_->Wait().ok());  // and can do with less
}

TEST_F(CudaBackendTest, RefusesWeightsOfInt8ByName) {
  const std::vector<float> w(4, 1);
  const auto packed = backend_->Pack("decoder.o", w, 2, 2, DType::kI8, 1);
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(packed.status().message().find("decoder.o"), std::string_view::npos);
}

TEST_F(CudaBackendTest, RefusesAGemmThatGivesARowOtherBitsAmongOthers) {
  backend_ = cuda::MakeCudaBackendWith(GemmThatVaries()).value();
  const auto packed = backend_->Pack("w", RandomFloats(64 * 64, 1), 64, 64, DType::kF32, 8);
  ASSERT_TRUE(packed.ok());
  const Status status = backend_->Prepare(kLimits);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("other bits"), std::string_view::npos) << status;
}

TEST_F(CudaBackendTest, AnErrorIsToldByWaitFromThenOn) {
  Prepare();
  DeviceArray<float> out(backend_->Allocate(16).value());
  ASSERT_TRUE(backend_->Wait().ok());
  simt::RuntimeFaults().work_until_error = 1;
  const std::vector<int32_t> ids = {3, 1};
  std::vector<TokenScore> best(1);
  std::vector<ScoreSummary> rows = {{.best = best}};
  for (int step = 0; step < 3; ++step) {
    backend_->Embed(ids, table_.data(), DType::kF32, 2, out.data());
    backend_->SummarizeScores({scores_.data(), 4, 0, rows});
    const Status status = backend_->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_NE(status.message().find("cudaErrorIllegalAddress"), std::string_view::npos) << status;
    EXPECT_EQ(rows[0].num_best, 0u);
  }
  std::vector<float> got(4, 1);
  backend_->Download(out.data(), 16, got.data());
  EXPECT_EQ(got, std::vector<float>(4, 0));
}

}  // namespace
}  // namespace precis
