// CudaBackend on the emulated device: what passes between host and device, and what fails. Whole
// models are in golden_test.cc.
#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device_allocator.h"
#include "kernels/grouping_ops.h"
#include "tests/kernels/cuda/emulated_gemm.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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

TEST_F(CudaBackendTest, HeadsWiderThanItsKernelsAreRefusedWhileTheModelIsLoaded) {
  BackendLimits limits = kLimits;
  limits.head_dim = cuda::kMostHeadDim + 1;
  const Status status = backend_->Prepare(limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("up to 128 dimensions"), HasSubstr("129"),
                                      HasSubstr("--device cpu")));
}

TEST_F(CudaBackendTest, TheHostMayChangeWhatItSaidWhenAnOpReturns) {
  Prepare();
  DeviceArray<float> out(backend_->Allocate(4 * sizeof(float)).value());
  std::vector<int32_t> ids = {3, 1};
  backend_->Embed({ids, table_.data(), DType::kF32, 2, out.data()});
  ids = {0, 0};
  std::vector<float> got(4);
  backend_->Download(out.data(), 16, got.data());
  EXPECT_EQ(got, (std::vector<float>{6, 7, 2, 3}));
  // The same place says something else now.
  backend_->Embed({ids, table_.data(), DType::kF32, 2, out.data()});
  backend_->Download(out.data(), 16, got.data());
  EXPECT_EQ(got, (std::vector<float>{0, 1, 0, 1}));
}

// Else the next step's words would lie where this one's copies have not come to yet.
TEST_F(CudaBackendTest, WaitsForAStepThatAnswersNothingToo) {
  Prepare();
  DeviceArray<float> first(backend_->Allocate(8).value());
  DeviceArray<float> second(backend_->Allocate(8).value());
  const std::vector<int32_t> ids = {3, 1};
  backend_->Embed({std::span(ids).first(1), table_.data(), DType::kF32, 2, first.data()});
  ASSERT_TRUE(backend_->Wait().ok());
  backend_->Embed({std::span(ids).last(1), table_.data(), DType::kF32, 2, second.data()});
  std::vector<float> got(2);
  backend_->Download(first.data(), 8, got.data());
  EXPECT_EQ(got, (std::vector<float>{6, 7}));
}

TEST_F(CudaBackendTest, AnswersAreThereAfterWaitAndNotBefore) {
  Prepare();
  std::vector<TokenScore> best(4);
  std::vector<ScoreReduction> rows = {{.best = {&best[0], 2}, .wants_sum = true},
                                      {.best = {&best[2], 2}}};
  std::vector<uint32_t> kept_rows = {1};
  std::vector<float> values(3, -5);
  std::vector<float> kept(2 * 8, -5);
  backend_->KeepScores({scores_.data(), 4, 4, kept_rows, 8, kept.data()});
  backend_->ExtractScores({scores_.data(), 4, 4, {}, values.data()});
  std::vector<ScorePlace> shifted = {{0, 5, 2}};
  backend_->ExtractScores({scores_.data(), 4, 4, shifted, values.data()});
  backend_->ReduceScores({scores_.data(), 4, 4, rows});
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
    backend_->ExtractScores({scores.data(), kPlaces, 0, places, values[i].data()});
  }
  EXPECT_GT(simt::CountsOfRuntime().waits, waits);
  ASSERT_TRUE(backend_->Wait().ok());
  EXPECT_EQ(simt::CountsOfRuntime().allocations, allocations);
  for (uint32_t i = 0; i < values.size(); ++i) {
    const auto want = RandomFloats(kPlaces, i);
    for (uint32_t j = 0; j < kPlaces; ++j) ASSERT_EQ(values[i][j ^ i], want[j]) << i << " " << j;
  }
}

TEST_F(CudaBackendTest, AnOpThatSaysMoreThanTheRoomOfAStepIsDoneInParts) {
  Prepare();
  constexpr uint32_t kCount = 50000;
  constexpr uint32_t kRows = 8;
  DeviceArray<float> scores(backend_->Allocate(kRows * kCount * sizeof(float)).value());
  const auto from = RandomFloats(kRows * kCount, 1);
  backend_->Upload(from.data(), from.size() * sizeof(float), scores.data());
  std::vector<uint32_t> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0u);
  std::vector<float> kept(kRows * kCount);
  backend_->KeepScores({scores.data(), kCount, 0, rows, kCount, kept.data()});
  std::vector<ScorePlace> places(kCount);
  for (uint32_t i = 0; i < kCount; ++i) places[i] = {i % kRows, static_cast<int32_t>(i), i};
  std::vector<float> taken(kCount);
  backend_->ExtractScores({scores.data(), kCount, 0, places, taken.data()});
  ASSERT_TRUE(backend_->Wait().ok());
  EXPECT_EQ(kept, from);
  for (uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(taken[i], from[(i % kRows) * kCount + i]) << i;
}

TEST_F(CudaBackendTest, ReductionsOfMoreThanTheRoomOfAStepAreMadeInParts) {
  Prepare();
  constexpr uint32_t kRows = 170;
  constexpr uint32_t kBest = cuda::kMostBest;  // most of their room is not used
  DeviceArray<float> scores(backend_->Allocate(kRows * 4 * sizeof(float)).value());
  const auto from = RandomFloats(kRows * 4, 1);  // two panels of [rows, 2]
  backend_->Upload(from.data(), from.size() * sizeof(float), scores.data());
  std::vector<TokenScore> best(kRows * kBest);
  std::vector<ScoreReduction> rows(kRows);
  for (uint32_t i = 0; i < kRows; ++i) rows[i].best = std::span(best).subspan(i * kBest, kBest);
  for (int32_t panel = 0; panel < 2; ++panel) {
    backend_->ReduceScores({scores.data() + panel * 2 * kRows, 2, panel * 2, rows});
  }
  ASSERT_TRUE(backend_->Wait().ok());
  for (uint32_t row = 0; row < kRows; ++row) {
    const float* first = &from[row * 2];
    const float* second = &from[(kRows + row) * 2];
    std::vector<float> want = {first[0], first[1], second[0], second[1]};
    std::ranges::sort(want, std::greater());
    ASSERT_EQ(rows[row].num_best, 4u) << row;
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(rows[row].best[i].score, want[i]) << row;
  }
}

// Pages of one slot, and tables of the most tokens for each row.
TEST_F(CudaBackendTest, HasRoomForTheLongestPageTables) {
  BackendLimits limits = kLimits;
  limits.max_decode_rows = 64;
  limits.max_source_tokens = 16384;
  ASSERT_TRUE(backend_->Prepare(limits).ok());
  const KvRegion region = {.slots = 1, .num_kv_heads = 1, .head_dim = 1, .keeps_key_squares = true};
  DeviceArray<float> k(backend_->Allocate(64 * sizeof(float)).value());
  DeviceMemory pool = backend_->Allocate(64 * 64 + 64).value();
  const std::vector<float> keys = RandomFloats(64, 1);
  backend_->Upload(keys.data(), 64 * sizeof(float), k.data());
  std::vector<PagedRow> rows;
  std::vector<int32_t> pages(64 * 16384, -1);
  for (uint32_t i = 0; i < 64; ++i) {
    rows.push_back({.first_page = i * 16384, .num_keys = 1, .position = 0});
    pages[i * 16384] = static_cast<int32_t>(i);
  }
  backend_->grouping_ops()->SumKeySquares({.k = k.data(),
                                           .row_stride = 1,
                                           .rows = rows,
                                           .pages = pages,
                                           .pool = {pool.data(), 64},
                                           .region = region});
  std::vector<float> got(64 * 16);
  backend_->Download(pool.data(), 64 * 64, got.data());
  ASSERT_TRUE(backend_->Wait().ok());
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(got[i * 16], keys[i] * keys[i]);
}

TEST_F(CudaBackendTest, PrepareSaysWhatItCannotHaveAndWhy) {
  simt::RuntimeFaults().pinned_bytes = 1000;
  Status status = backend_->Prepare(kLimits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("pinned"), HasSubstr("4 rows"), HasSubstr("sources of 64 tokens"),
                    HasSubstr("cudaErrorMemoryAllocation")));
  backend_ = cuda::MakeCudaBackendWith(EmulatedGemm()).value();
  simt::RuntimeFaults() = {.device_bytes = size_t{3} << 20};
  BackendLimits limits = kLimits;
  limits.num_heads = 1000;
  limits.max_decode_rows = 64;
  status = backend_->Prepare(limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("64 rows with 1000 heads over 64 tokens"), HasSubstr("1536000 bytes")));
  EXPECT_TRUE(backend_->Wait().ok());
}

TEST_F(CudaBackendTest, PrepareAgainTakesNoMoreMemory) {
  ASSERT_TRUE(backend_->Prepare(kLimits).ok());
  const simt::RuntimeCounts before = simt::CountsOfRuntime();
  ASSERT_TRUE(backend_->Prepare(kLimits).ok());
  EXPECT_EQ(simt::CountsOfRuntime().pinned_bytes, before.pinned_bytes);
  EXPECT_EQ(simt::CountsOfRuntime().device_bytes, before.device_bytes);
  simt::RuntimeFaults().device_bytes = before.device_bytes + 1000;
  BackendLimits more = kLimits;
  more.max_source_tokens = 1 << 20;
  EXPECT_FALSE(backend_->Prepare(more).ok());
  ASSERT_TRUE(backend_->Prepare(kLimits).ok());
  EXPECT_EQ(simt::CountsOfRuntime().pinned_bytes, before.pinned_bytes);
  EXPECT_EQ(simt::CountsOfRuntime().device_bytes, before.device_bytes);
}

// What lies behind them seldom moves then.
TEST(StagingBlocks, GrowInStepsOfAnEighth) {
  std::set<size_t> sizes;
  for (size_t bytes = 1; bytes <= 1 << 16; ++bytes) {
    const size_t block = cuda::Staging::BlockBytes(bytes);
    EXPECT_GE(block, bytes);
    EXPECT_LE(block, bytes + std::max<size_t>(63, bytes / 8)) << bytes;
    EXPECT_EQ(block % 64, 0u);
    if (bytes >= 1 << 15) sizes.insert(block);
  }
  EXPECT_EQ(sizes.size(), 9u);
}

// Their list does not grow: those of before are fetched.
TEST_F(CudaBackendTest, AStepOfMoreAnswersThanAVocabularyHasPanelsIsRight) {
  Prepare();
  constexpr uint32_t kAnswers = 3000;
  std::vector<float> values(kAnswers);
  const uint64_t waits = simt::CountsOfRuntime().waits;
  for (uint32_t i = 0; i < kAnswers; ++i) {
    const ScorePlace place = {0, static_cast<int32_t>(4 + i % 4), i};
    backend_->Upload(&i, sizeof(float), scores_.data() + i % 4);
    backend_->ExtractScores({scores_.data(), 4, 4, {&place, 1}, values.data()});
  }
  ASSERT_TRUE(backend_->Wait().ok());
  EXPECT_GT(simt::CountsOfRuntime().waits, waits + 1);
  for (uint32_t i = 0; i < kAnswers; ++i) ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), i);
}

TEST_F(CudaBackendTest, SaysWhatTheDeviceHasFree) {
  simt::RuntimeFaults().device_bytes = 5000;
  EXPECT_EQ(backend_->FreeDeviceBytes(), 5000u);
  const DeviceMemory memory = backend_->Allocate(1000).value();
  EXPECT_EQ(backend_->FreeDeviceBytes(), 4000u);
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
  const auto packed = backend_->Pack({"decoder.o", w, 2, 2, DType::kI8, 1});
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(packed.status().message().find("decoder.o"), std::string_view::npos);
}

TEST_F(CudaBackendTest, RefusesAGemmThatGivesARowOtherBitsAmongOthers) {
  for (const bool only_accumulating : {false, true}) {
    backend_ = cuda::MakeCudaBackendWith(GemmThatVaries(only_accumulating)).value();
    const auto packed = backend_->Pack(RandomMatrix(64, 64, true).ToPack(DType::kF32, 8));
    ASSERT_TRUE(packed.ok());
    const Status status = backend_->Prepare(kLimits);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_NE(status.message().find("other bits"), std::string_view::npos) << status;
  }
}

TEST_F(CudaBackendTest, AGemmAddsTheMatrixsBiasToEveryRow) {
  const std::vector<float> weights = {1, 2, 3, 4};  // [2, 2]
  const std::vector<float> bias = {0.5f, -0.25f};
  const auto w = backend_->Pack({"w", weights, 2, 2, DType::kF32, 2, bias}).value();
  EXPECT_TRUE(w->has_bias());
  EXPECT_EQ(w->bytes(), 24u);
  Prepare();
  DeviceArray<float> in(backend_->Allocate(16).value());
  DeviceArray<float> out(backend_->Allocate(16).value());
  const std::vector<float> rows = {1, 0, 0, 1};
  backend_->Upload(rows.data(), 16, in.data());
  std::vector<float> got(4);
  for (const bool accumulate : {false, true}) {
    backend_->Gemm({{in.data(), DType::kF32, 2, 2}, *w, accumulate, out.data()});
    backend_->Download(out.data(), 16, got.data());
    const float times = accumulate ? 2 : 1;
    EXPECT_EQ(got, (std::vector<float>{times * 1.5f, times * 2.75f, times * 2.5f, times * 3.75f}));
  }
}

TEST_F(CudaBackendTest, EmbedAddsTheRowsOfItsPositions) {
  Prepare();
  const std::vector<float> position_table = {10, 20, 30, 40, 50, 60};
  DeviceAllocator allocator(*backend_);
  const DeviceArray<float> on_device = allocator.Copy<float>(position_table);
  DeviceArray<float> without(backend_->Allocate(16).value());
  DeviceArray<float> with(backend_->Allocate(16).value());
  const std::vector<int32_t> ids = {3, 1};
  const std::vector<uint32_t> positions = {2, 0};
  EmbedParams p{ids, table_.data(), DType::kF32, 2, without.data()};
  backend_->Embed(p);
  p.out = with.data();
  p.scale = 2;
  p.position_table = on_device.data();
  p.positions = positions;
  backend_->Embed(p);
  std::vector<float> rows(4);
  std::vector<float> got(4);
  backend_->Download(without.data(), 16, rows.data());
  backend_->Download(with.data(), 16, got.data());
  EXPECT_EQ(got, (std::vector<float>{2 * rows[0] + 50, 2 * rows[1] + 60, 2 * rows[2] + 10,
                                     2 * rows[3] + 20}));
}

TEST_F(CudaBackendTest, AProductThatTheLibraryRefusesIsToldByWaitFromThenOn) {
  bool fails = false;
  backend_ = cuda::MakeCudaBackendWith(GemmThatFails(&fails)).value();
  const auto w = backend_->Pack({"w", std::vector<float>{1, 2}, 1, 2, DType::kF32, 2}).value();
  Prepare();
  DeviceArray<float> out(backend_->Allocate(8).value());
  const Activations in = {scores_.data(), DType::kF32, 2, 2};
  std::vector<TokenScore> best(1);
  std::vector<ScoreReduction> rows = {{.best = best}};
  backend_->Gemm({in, *w, false, out.data()});
  EXPECT_TRUE(backend_->Wait().ok());
  fails = true;
  for (int step = 0; step < 3; ++step) {
    backend_->Gemm({in, *w, false, out.data()});
    backend_->ReduceScores({out.data(), 2, 0, rows});
    const Status status = backend_->Wait();
    EXPECT_THAT(std::string(status.message()), HasSubstr("cublasLtMatmul"));
    fails = false;  // it stays
    EXPECT_EQ(rows[0].num_best, 0u);
  }
}

TEST_F(CudaBackendTest, AnErrorIsToldByWaitFromThenOn) {
  Prepare();
  DeviceArray<float> out(backend_->Allocate(16).value());
  ASSERT_TRUE(backend_->Wait().ok());
  simt::RuntimeFaults().work_until_error = 1;
  const std::vector<int32_t> ids = {3, 1};
  std::vector<TokenScore> best(1);
  std::vector<ScoreReduction> rows = {{.best = best}};
  for (int step = 0; step < 3; ++step) {
    backend_->Embed({ids, table_.data(), DType::kF32, 2, out.data()});
    backend_->ReduceScores({scores_.data(), 4, 0, rows});
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
