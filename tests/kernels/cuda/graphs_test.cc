// CudaBackend with CUDA graphs on the emulated device: the same bits as without, when graphs are
// made, kept and updated, and what comes of their failures.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/device_allocator.h"
#include "tests/kernels/cuda/emulated_gemm.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/simt/runtime.h"

namespace precis {
namespace {

using simt::CountsOfRuntime;
using simt::RuntimeCounts;
using simt::RuntimeFaults;
using testing::HasSubstr;

constexpr uint32_t kWidth = 8;
constexpr uint32_t kMostRows = 8;
constexpr uint32_t kSlots = 4;
constexpr uint32_t kPagesOfRow = 2;
constexpr uint32_t kBest = 3;
constexpr KvRegion kRegion = {
    .k_offset = 0, .v_offset = 128, .slots = kSlots, .num_kv_heads = 1, .head_dim = kWidth};
constexpr BackendLimits kLimits = {.num_heads = 1,
                                   .head_dim = kWidth,
                                   .max_source_tokens = 64,
                                   .max_target_tokens = 64,
                                   .max_decode_rows = kMostRows,
                                   .max_encode_rows = 64,
                                   .vocab_size = kWidth};

// What a step gives to the host.
struct Answers {
  Status status;
  std::vector<float> kept;
  std::vector<float> values;
  std::vector<float> best;
  std::vector<double> sums;

  bool operator==(const Answers& other) const {
    return kept == other.kept && values == other.values && best == other.best && sums == other.sums;
  }
};

// A model of one layer on a device of its own.
class Model {
 public:
  explicit Model(bool graphs, std::unique_ptr<cuda::DeviceGemm> gemm = EmulatedGemm())
      : backend_(cuda::MakeCudaBackendWith(std::move(gemm), {.name = "cuda", .cuda_graphs = graphs})
                     .value()) {
    w_ = backend_->Pack(RandomMatrix(kWidth, kWidth, true).ToPack(DType::kF32, kMostRows)).value();
    EXPECT_TRUE(backend_->Prepare(kLimits).ok());
    DeviceAllocator allocator(*backend_);
    table_ = allocator.Copy<float>(RandomFloats(16 * kWidth, 2));
    gain_ = allocator.Copy<float>(RandomFloats(kWidth, 3));
    x_ = allocator.Make<float>(kMostRows * kWidth);
    normed_ = allocator.Make<float>(kMostRows * kWidth);
    out_ = allocator.Make<float>(kMostRows * kWidth);
    pool_ = allocator.Make<std::byte>(kMostRows * kPagesOfRow * 256 + 64);
    EXPECT_TRUE(allocator.status().ok());
    EXPECT_TRUE(backend_->Wait().ok());
  }

  // Step `at` appends a key to each row and reads all of them.
  Answers Step(uint32_t at, uint32_t rows) {
    const uint32_t keys = at % (kSlots * kPagesOfRow) + 1;
    std::vector<int32_t> ids(rows);
    std::vector<SlotRef> slots(rows);
    std::vector<PagedRow> paged(rows);
    std::vector<int32_t> pages;
    for (uint32_t i = 0; i < rows; ++i) {
      ids[i] = static_cast<int32_t>((at * 7 + i * 3) % 16);
      paged[i] = {static_cast<uint32_t>(pages.size()), keys, keys - 1};
      for (uint32_t page = 0; page * kSlots < keys; ++page) {
        pages.push_back(static_cast<int32_t>(i * kPagesOfRow + page));
      }
      slots[i] = {pages.back(), (keys - 1) % kSlots};
    }
    const Activations normed = {normed_.data(), DType::kF32, rows, kWidth};
    const Activations out = {out_.data(), DType::kF32, rows, kWidth};
    const KvPool pool = {pool_.data(), 256};
    backend_->Embed({ids, table_.data(), DType::kF32, kWidth, x_.data()});
    const NormWeights norm = {NormKind::kLayer, gain_.data(), gain_.data(), 1e-6f};
    backend_->Norm({x_.data(), norm, normed, x_.data()});
    backend_->Gemm({normed, *w_, true, x_.data()});
    const AppendKvParams append = {x_.data(), normed_.data(), kWidth, slots, pool, kRegion};
    backend_->PagedAttention({.append = &append,
                              .q = x_.data(),
                              .q_stride = kWidth,
                              .rows = paged,
                              .pages = pages,
                              .pool = pool,
                              .region = kRegion,
                              .groups = {kHeads, kBegin},
                              .bias = {},
                              .out = out});
    return Ask(at, rows);
  }

  Backend& backend() { return *backend_; }
  const float* x() const { return x_.data(); }

 private:
  static constexpr uint32_t kHeads[] = {0};
  static constexpr uint32_t kBegin[] = {0, 1};

  Answers Ask(uint32_t at, uint32_t rows) {
    std::vector<uint32_t> all(rows);
    for (uint32_t i = 0; i < rows; ++i) all[i] = i;
    const ScorePlace place = {rows - 1, static_cast<int32_t>(at % kWidth), 0};
    std::vector<TokenScore> best(rows * kBest);
    std::vector<ScoreReduction> reductions(rows);
    for (uint32_t i = 0; i < rows; ++i) {
      reductions[i] = {.best = {&best[i * kBest], kBest}, .wants_sum = true};
    }
    kept_.assign(rows * kWidth, 0);
    values_.assign(1, 0);
    backend_->KeepScores({out_.data(), kWidth, 0, all, kWidth, kept_.data()});
    backend_->ExtractScores({out_.data(), kWidth, 0, {&place, 1}, values_.data()});
    backend_->ReduceScores({out_.data(), kWidth, 0, reductions});
    Answers answers{backend_->Wait(), kept_, values_, {}, {}};
    for (const TokenScore& b : best) answers.best.push_back(b.score);
    for (const ScoreReduction& s : reductions) answers.sums.push_back(s.sum);
    return answers;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PackedMatrix> w_;
  DeviceArray<float> table_, gain_, x_, normed_, out_;
  DeviceArray<std::byte> pool_;
  std::vector<float> kept_ = std::vector<float>(kMostRows * kWidth);
  std::vector<float> values_;
};

class CudaGraphs : public ::testing::Test {
 protected:
  void TearDown() override {
    on_.reset();
    off_.reset();
    simt::ResetRuntime();
  }
  void Start(std::unique_ptr<cuda::DeviceGemm> gemm = EmulatedGemm()) {
    on_ = std::make_unique<Model>(true, std::move(gemm));
    off_ = std::make_unique<Model>(false);
  }
  // A step with graphs, which must be as one without; what it asked of the runtime.
  RuntimeCounts Step(uint32_t at, uint32_t rows) {
    const Answers want = off_->Step(at, rows);
    EXPECT_TRUE(want.status.ok()) << want.status;
    const RuntimeCounts before = CountsOfRuntime();
    const Answers got = on_->Step(at, rows);
    RuntimeCounts counts = CountsOfRuntime();
    EXPECT_TRUE(got.status.ok()) << got.status;
    EXPECT_TRUE(got == want) << at << " " << rows;
    EXPECT_EQ(counts.waits - before.waits, 1u);
    EXPECT_EQ(counts.allocations > before.allocations, allocates_);
    EXPECT_EQ(counts.graphs, 0u);
    counts.copies -= before.copies;
    counts.captures -= before.captures;
    counts.instantiations -= before.instantiations;
    counts.updates -= before.updates;
    counts.refused_updates -= before.refused_updates;
    counts.graph_launches -= before.graph_launches;
    return counts;
  }
  void ExpectPlain(const RuntimeCounts& counts) {
    EXPECT_EQ(counts.captures, 0u);
    EXPECT_EQ(counts.graph_launches, 0u);
  }

  bool allocates_ = false;  // the GEMM does
  std::unique_ptr<Model> on_;
  std::unique_ptr<Model> off_;
};

TEST_F(CudaGraphs, AStepOfANewShapeIsPlainTheSecondIsMadeAGraph) {
  Start();
  ExpectPlain(Step(0, 3));
  const RuntimeCounts second = Step(1, 3);
  EXPECT_EQ(second.captures, 1u);
  EXPECT_EQ(second.instantiations, 1u);
  EXPECT_EQ(second.graph_launches, 1u);
}

// The host asks for one launch and one wait, whatever the step has said.
TEST_F(CudaGraphs, WhatOnlySaysSomethingElseIsLaunchedAsItIs) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  Start();
  for (uint32_t at = 0; at < 2; ++at) Step(at, 3);
  for (uint32_t at = 2; at < 12; ++at) {  // tables grow, and shrink again
    const RuntimeCounts counts = Step(at, 3);
    EXPECT_EQ(counts.captures, 0u) << at;
    EXPECT_EQ(counts.copies, 0u) << at;
    EXPECT_EQ(counts.graph_launches, 1u) << at;
  }
  return;
#endif
#endif
  GTEST_SKIP() << "this compiler cannot clear padding";
}

TEST_F(CudaGraphs, OtherArgumentsAreAnUpdate) {
  Start();
  for (uint32_t at = 0; at < 2; ++at) Step(at, 3);
  for (uint32_t at = 2; at < 8; ++at) {
    const RuntimeCounts counts = Step(at, 4 - at % 2);  // 4 rows, 3 rows: one bucket
    EXPECT_EQ(counts.updates, 1u) << at;
    EXPECT_EQ(counts.instantiations, 0u) << at;
    EXPECT_EQ(counts.graph_launches, 1u) << at;
  }
}

// All else is the same: where it lies, how much of it there is.
TEST_F(CudaGraphs, OneOtherArgumentIsSeen) {
  Start();
  Backend& backend = on_->backend();
  const auto values = RandomFloats(3 * 2 * kWidth, 1);  // three tables of two rows
  DeviceArray<float> tables(backend.Allocate(values.size() * sizeof(float)).value());
  DeviceArray<float> row(backend.Allocate(kWidth * sizeof(float)).value());
  backend.Upload(values.data(), values.size() * sizeof(float), tables.data());
  for (const size_t table : {0, 0, 1, 1, 2, 0}) {
    const std::vector<int32_t> ids = {1};
    const float* from = tables.data() + table * 2 * kWidth;
    std::vector<float> got(kWidth);
    backend.Embed({ids, from, DType::kF32, kWidth, row.data()});
    ASSERT_TRUE(backend.Wait().ok());
    backend.Download(row.data(), kWidth * sizeof(float), got.data());
    const auto want = values.begin() + static_cast<ptrdiff_t>((table * 2 + 1) * kWidth);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), want)) << table;
  }
  EXPECT_EQ(CountsOfRuntime().executables, 1u);
}

TEST_F(CudaGraphs, EachBucketOfRowsKeepsItsOwn) {
  Start();
  for (uint32_t at = 0; at < 8; ++at) Step(at, 1u << at % 4);  // 1, 2, 4, 8
  EXPECT_EQ(CountsOfRuntime().executables, 4u);
  for (uint32_t at = 8; at < 24; ++at) {
    const RuntimeCounts counts = Step(at, 1u << at % 4);
    EXPECT_EQ(counts.instantiations, 0u) << at;
    EXPECT_EQ(counts.graph_launches, 1u) << at;
  }
}

TEST_F(CudaGraphs, WithoutThemThereAreNone) {
  Start();
  const RuntimeCounts before = CountsOfRuntime();
  for (uint32_t at = 0; at < 4; ++at) ASSERT_TRUE(off_->Step(at, 3).status.ok());
  EXPECT_EQ(CountsOfRuntime().captures, before.captures);
  EXPECT_THAT(off_->backend().Describe(), HasSubstr("one stream, no CUDA graphs"));
  EXPECT_THAT(on_->backend().Describe(), HasSubstr("one stream, CUDA graphs"));
}

// Each number of launches is a shape of its own; the least recently used gives way.
TEST_F(CudaGraphs, ThereAreNoMoreThanAFew) {
  on_ = std::make_unique<Model>(true);
  Backend& backend = on_->backend();
  DeviceArray<float> out(backend.Allocate(kWidth * sizeof(float)).value());
  // Returns how many executables were made for it.
  const auto step = [&](uint32_t launches) {
    const uint64_t before = CountsOfRuntime().instantiations;
    const std::vector<int32_t> ids = {1};
    backend.Embed({ids, on_->x(), DType::kF32, kWidth, out.data()});
    for (uint32_t i = 0; i < launches; ++i) {
      backend.Activate(
          {ActivationKind::kRelu, false, on_->x(), {out.data(), DType::kF32, 1, kWidth}});
    }
    EXPECT_TRUE(backend.Wait().ok());
    EXPECT_LE(CountsOfRuntime().executables, 32u);
    return CountsOfRuntime().instantiations - before;
  };
  for (uint32_t launches = 1; launches <= 40; ++launches) {
    EXPECT_EQ(step(launches), 0u);
    EXPECT_EQ(step(launches), 1u);
  }
  EXPECT_EQ(CountsOfRuntime().executables, 32u);
  EXPECT_EQ(step(40), 0u);
  EXPECT_EQ(step(9), 0u);
  EXPECT_EQ(step(8), 1u);  // takes the place of 10: 9 was used since
  EXPECT_EQ(step(9), 0u);
  EXPECT_EQ(step(10), 1u);
}

// The encoder's work is long: the device begins with it before the host has said all of it.
TEST_F(CudaGraphs, EncoderAttentionIsIssuedAtOnce) {
  Start();
  Backend& backend = on_->backend();
  const auto qkv = RandomFloats(4 * 3 * kWidth, 1);
  DeviceArray<float> on_device(backend.Allocate(qkv.size() * sizeof(float)).value());
  DeviceArray<float> out(backend.Allocate(4 * kWidth * sizeof(float)).value());
  backend.Upload(qkv.data(), qkv.size() * sizeof(float), on_device.data());
  const EncoderAttentionParams params{.q = on_device.data(),
                                      .k = on_device.data() + kWidth,
                                      .v = on_device.data() + 2 * kWidth,
                                      .row_stride = 3 * kWidth,
                                      .num_keys = 4,
                                      .num_heads = 1,
                                      .head_dim = kWidth,
                                      .begin = 0,
                                      .bias = {},
                                      .out = {out.data(), DType::kF32, 4, kWidth}};
  for (uint32_t step = 0; step < 3; ++step) {
    const RuntimeCounts before = CountsOfRuntime();
    const std::vector<int32_t> ids = {1, 2};
    DeviceArray<float> rows(backend.Allocate(2 * kWidth * sizeof(float)).value());
    backend.Embed({ids, on_device.data(), DType::kF32, kWidth, rows.data()});
    EXPECT_EQ(CountsOfRuntime().copies, before.copies);
    backend.EncoderAttention(params);
    EXPECT_EQ(CountsOfRuntime().copies, before.copies + 1);
    ASSERT_TRUE(backend.Wait().ok());
    EXPECT_EQ(CountsOfRuntime().captures, before.captures);
  }
}

// Parts of a step are graphs, too.
TEST_F(CudaGraphs, AStepThatWaitsInItsMidstIsRight) {
  Start();
  constexpr uint32_t kPlaces = 60000;
  for (Model* model : {off_.get(), on_.get()}) {
    Backend& backend = model->backend();
    DeviceArray<float> scores(backend.Allocate(kPlaces * sizeof(float)).value());
    const std::vector<int32_t> ids = {1};
    DeviceArray<float> row(backend.Allocate(kWidth * sizeof(float)).value());
    for (uint32_t step = 0; step < 4; ++step) {
      const auto from = RandomFloats(kPlaces, step);
      backend.Upload(from.data(), from.size() * sizeof(float), scores.data());
      std::vector<ScorePlace> places(kPlaces);
      for (uint32_t i = 0; i < kPlaces; ++i) places[i] = {0, static_cast<int32_t>(i), i};
      std::vector<float> taken(kPlaces);
      std::vector<float> kept(kPlaces);
      const RuntimeCounts before = CountsOfRuntime();
      backend.Embed({ids, scores.data(), DType::kF32, kWidth, row.data()});
      const std::vector<uint32_t> rows = {0};
      backend.KeepScores({scores.data(), kPlaces, 0, rows, kPlaces, kept.data()});
      backend.ExtractScores({scores.data(), kPlaces, 0, places, taken.data()});
      ASSERT_TRUE(backend.Wait().ok());
      EXPECT_GT(CountsOfRuntime().waits - before.waits, 1u);
      EXPECT_EQ(kept, from);
      EXPECT_EQ(taken, from);
      const uint64_t launches = CountsOfRuntime().graph_launches - before.graph_launches;
      if (step > 0) {
        EXPECT_EQ(launches > 0, model == on_.get()) << step;
      }
    }
  }
}

// What a step has read and written between is issued before, and in its order.
TEST_F(CudaGraphs, UploadAndDownloadAmidABatchKeepTheOrder) {
  Start();
  Backend& backend = on_->backend();
  const std::vector<int32_t> ids = {1};
  DeviceArray<float> table(backend.Allocate(2 * kWidth * sizeof(float)).value());
  DeviceArray<float> row(backend.Allocate(kWidth * sizeof(float)).value());
  for (uint32_t step = 0; step < 3; ++step) {
    const auto first = RandomFloats(2 * kWidth, step);
    const auto second = RandomFloats(2 * kWidth, 100 + step);
    std::vector<float> got(kWidth);
    backend.Upload(first.data(), first.size() * sizeof(float), table.data());
    backend.Embed({ids, table.data(), DType::kF32, kWidth, row.data()});
    backend.Upload(second.data(), second.size() * sizeof(float), table.data());
    backend.Download(row.data(), kWidth * sizeof(float), got.data());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), first.begin() + kWidth)) << step;
    ASSERT_TRUE(backend.Wait().ok());
  }
}

// --- failures

TEST_F(CudaGraphs, AnUpdateThatIsRefusedIsAnotherExecutable) {
  Start();
  for (uint32_t at = 0; at < 2; ++at) Step(at, 3);
  RuntimeFaults().updates = 0;
  for (uint32_t at = 2; at < 20; ++at) {
    const RuntimeCounts counts = Step(at, 4 - at % 2);
    EXPECT_EQ(counts.refused_updates, 1u) << at;
    EXPECT_EQ(counts.instantiations, 1u) << at;
    EXPECT_EQ(counts.graph_launches, 1u) << at;
    EXPECT_EQ(counts.executables, 1u) << at;
  }
}

// No step is lost by it, and after some no more are tried.
TEST_F(CudaGraphs, WhereNoneCanBeMadeStepsArePlain) {
  const std::vector<std::function<void()>> faults = {[] { RuntimeFaults().captures = 0; },
                                                     [] { RuntimeFaults().instantiations = 0; }};
  for (const auto& fault : faults) {
    Start();
    Step(0, 3);
    fault();
    for (uint32_t at = 1; at < 8; ++at) {
      const RuntimeCounts counts = Step(at, 3);
      EXPECT_EQ(counts.captures, at <= 4 ? 1u : 0u) << at;
      EXPECT_EQ(counts.graph_launches, 0u) << at;
      EXPECT_EQ(counts.executables, 0u) << at;
    }
    TearDown();
  }
}

TEST_F(CudaGraphs, AfterAFailureByChanceTheyAreTriedAgain) {
  Start();
  Step(0, 3);
  RuntimeFaults().captures = 0;
  EXPECT_EQ(Step(1, 3).graph_launches, 0u);
  RuntimeFaults().captures = 10;
  EXPECT_EQ(Step(2, 3).graph_launches, 1u);
}

// A call that a capture does not have makes it invalid: what was captured is issued once more.
TEST_F(CudaGraphs, AProductThatCannotBeCapturedIsDonePlainly) {
  Start(GemmThatAllocates());
  allocates_ = true;
  for (uint32_t at = 0; at < 7; ++at) EXPECT_EQ(Step(at, 3).graph_launches, 0u) << at;
}

TEST_F(CudaGraphs, ALaunchThatFailsIsTheDevicesError) {
  Start();
  for (uint32_t at = 0; at < 3; ++at) Step(at, 3);
  RuntimeFaults().graph_launches = 0;
  for (uint32_t at = 3; at < 6; ++at) {
    const Answers answers = on_->Step(at, 3);
    EXPECT_EQ(answers.status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(answers.status.message()), HasSubstr("cudaErrorInvalidValue"));
    EXPECT_EQ(answers.values[0], 0);
    RuntimeFaults().graph_launches = 100;  // it stays
  }
}

TEST_F(CudaGraphs, APieceOfAGraphThatFailsIsTheDevicesError) {
  for (const int64_t piece : {0, 1, 4, 9}) {
    Start();
    for (uint32_t at = 0; at < 3; ++at) Step(at, 3);
    RuntimeFaults().work_until_error = piece;
    for (uint32_t at = 3; at < 6; ++at) {
      const Answers answers = on_->Step(at, 3);
      EXPECT_EQ(answers.status.code(), absl::StatusCode::kInternal) << piece;
      EXPECT_THAT(std::string(answers.status.message()), HasSubstr("cudaErrorIllegalAddress"));
      EXPECT_EQ(answers.values[0], 0);
    }
    TearDown();
  }
}

}  // namespace
}  // namespace precis
