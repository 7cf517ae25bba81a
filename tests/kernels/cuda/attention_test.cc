// AppendKv, paged and encoder attention of CUDA, emulated or on a device, against ref.
#include <cmath>

#include "kernels/grouping_ops.h"
#include "tests/kernels/cpu/encoder_testing.h"
#include "tests/kernels/cuda/kernel_backend.h"
#include "tests/kernels/paged_testing.h"

namespace precis {
namespace {

// Groups alike, one of all, unequal ones not side by side, empty ones; slots that do and do not
// fill their words; slots and dimensions that are and are not read by fours; the widest heads.
std::vector<PagedCase> Cases() {
  return {
      {{{0}, {1}, {2}}, 16, 64, DType::kF32, true, DType::kF32},
      {{{0, 1, 2}, {3, 4, 5}}, 16, 64, DType::kBF16, true, DType::kBF16},
      {{{0, 1, 2}, {3, 4, 5}}, 16, 24, DType::kI8, false, DType::kF32},
      {{{0, 5}, {1, 2, 4, 7}, {3, 6}}, 17, 16, DType::kF32, false, DType::kF32},
      {{{4, 1, 0}, {}, {3}, {2}}, 6, 9, DType::kBF16, true, DType::kF32},
      {{{0, 1, 2, 3, 4, 5, 6, 7, 8}}, 7, 7, DType::kI8, true, DType::kBF16},
      {{{0, 1}}, 64, 128, DType::kI8, false, DType::kF32},
      {{{0}, {1}}, 100, 33, DType::kBF16, false, DType::kF32},
      {{{1, 0}}, 16, 126, DType::kF32, true, DType::kF32},
      {{{0, 1}}, 18, 128, DType::kBF16, true, DType::kF32},
  };
}

constexpr BackendLimits kLimits = {.num_heads = 9,
                                   .head_dim = 128,
                                   .max_source_tokens = 1100,
                                   .max_target_tokens = 64,
                                   .max_decode_rows = 16,
                                   .max_encode_rows = 64};

class CudaAttention : public ::testing::Test {
 protected:
  CudaAttention() { EXPECT_TRUE(ref_->Prepare(kLimits).ok()); }

  KernelBackend cuda_;
  std::unique_ptr<Backend> ref_ = Ref();
};

TEST_F(CudaAttention, AppendWritesTheBytesThatRefWritesAndNoOthers) {
  for (const PagedCase& c : Cases()) {
    PagedBatch a(c);
    PagedBatch b(c);
    a.Append(&cuda_);
    b.Append(ref_.get());
    EXPECT_EQ(a.pool, b.pool) << c.Name();
  }
}

// Infinities, zeros and values to be rounded, under every schedule.
TEST_F(CudaAttention, AppendsWhatIsHardToRoundAsRefDoes) {
  PagedBatch want({{{0}, {1}}, 6, 5, DType::kI8, false, DType::kF32});
  const std::vector<float> k = {1.0f, -2.0f, 0.5f, 3e-38f, 0, 1e-31f, 0, 0, -1e-31f, 0};
  const std::vector<float> v = {127.0f, 2.5f, -3.5f, 0.5f, 1.5f, INFINITY, 1, 2, 3, 4};
  const std::vector<SlotRef> slots = {{1, 3}};
  ref_->AppendKv({k.data(), v.data(), 10, slots, want.Pool(), want.region});
  InAllSchedules([&] {
    PagedBatch got(want.c);
    cuda_.AppendKv({k.data(), v.data(), 10, slots, got.Pool(), got.region});
    EXPECT_EQ(std::memcmp(got.Base(), want.Base(), want.num_pages * want.page_bytes), 0);
  });
}

TEST_F(CudaAttention, PagedIsNearRefForOddShapes) {
  for (const PagedCase& c : Cases()) {
    PagedBatch batch(c);
    batch.Append(ref_.get());
    const Guarded got = batch.Run(&cuda_, 0, batch.rows.size());
    const Guarded want = batch.Run(ref_.get(), 0, batch.rows.size());
    EXPECT_TRUE(AllNear(got, want, c.out, 5e-6)) << c.Name();
  }
}

// Rows that share tables, drafts and beams, around the page's and the chunk's size.
void ShareTables(PagedBatch* batch) {
  const size_t last = batch->rows.size() - 1;
  const std::vector<size_t> from = {last, last, last, 0, last - 1, last - 1, last - 4, last - 4};
  const std::vector<uint32_t> keys = {1, 512, 1100, 1, 512, 513, 9, 9};
  batch->SetRows(from, keys);
}

TEST_F(CudaAttention, PagedRowsHaveTheBitsOfRowsAloneUnderEverySchedule) {
  for (const size_t i : {1, 2, 3, 4, 8}) {
    const PagedCase c = Cases()[i];
    PagedBatch batch(c);
    batch.Append(&cuda_);
    ShareTables(&batch);
    const size_t count = batch.rows.size();
    const size_t row_bytes = c.num_heads() * c.head_dim * ElementBytes(c.out);
    const Guarded all = batch.Run(&cuda_, 0, count);
    EXPECT_TRUE(AllNear(all, batch.Run(ref_.get(), 0, count), c.out, 5e-6)) << c.Name();
    InAllSchedules([&] {
      const Guarded again = batch.Run(&cuda_, 0, count);
      EXPECT_EQ(std::memcmp(again.data(), all.data(), count * row_bytes), 0) << c.Name();
    });
    for (const uint32_t most : {1, 4, 8}) {  // compiled apart from one another
      cuda_.set_most_queries(most);
      for (size_t row = 0; row < count; ++row) {
        const Guarded one = batch.Run(&cuda_, row, 1);
        EXPECT_EQ(
            std::memcmp(one.data(), static_cast<const std::byte*>(all.data()) + row * row_bytes,
                        row_bytes),
            0)
            << c.Name() << ", row " << row << ", " << most << " queries at a time";
      }
    }
    cuda_.set_most_queries(0);
  }
}

TEST_F(CudaAttention, ADraftThatIsNotFiniteLeavesTheRowsBeforeItAlone) {
  for (size_t i = 0; i < 3; ++i) {
    const PagedCase c = Cases()[i];
    PagedBatch batch(c);
    batch.Append(&cuda_);
    const size_t last = batch.rows.size() - 1;
    batch.SetRows(std::vector<size_t>(3, last), std::vector<uint32_t>{1098, 1099, 1100});
    const Guarded before = batch.Run(&cuda_, 0, 3);
    batch.Poison(&cuda_, 2, 1099);
    const Guarded after = batch.Run(&cuda_, 0, 3);
    const size_t row_bytes = c.num_heads() * c.head_dim * ElementBytes(c.out);
    EXPECT_EQ(std::memcmp(before.data(), after.data(), 2 * row_bytes), 0) << c.Name();
    EXPECT_TRUE(std::isnan(after.at(2 * c.num_heads() * c.head_dim))) << c.Name();
  }
}

// KDGQA and DGQA: sums of squares in the pages, the heads assigned by them, and attention under
// each row's own split.
TEST_F(CudaAttention, AssignsHeadsAsRefDoes) {
  constexpr uint32_t kGroups = 3;
  constexpr uint32_t kHeadDim = 6;
  PagedBatch batch({{{0, 1, 2, 3}, {4, 5}, {6}}, 4, kHeadDim, DType::kF32, true, DType::kF32});
  batch.region.keeps_key_squares = true;
  batch.region.key_squares_offset = batch.page_bytes;
  batch.page_bytes += 64;
  std::vector<std::byte> memory((batch.num_pages + 2) * batch.page_bytes);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  const KvPool pool = {memory.data() + (64 - address % 64) % 64, batch.page_bytes};
  // Two sequences, one with a draft of three tokens.
  const std::vector<PagedRow> rows = {{0, 1, 0}, {1, 1, 0}, {1, 2, 1}, {1, 3, 2}};
  struct Data {
    std::vector<float> k;
    std::vector<float> norms;
  };
  // Shares that differ, and equal ones, of which the first gets the head that is left.
  const Data data[] = {{RandomFloats(4 * kGroups * kHeadDim, 9, 4.0f), {0.5f, 1.0f, 30.0f}},
                       {std::vector<float>(4 * kGroups * kHeadDim, 2.0f), {1.0f, 1.0f, 1.0f}}};
  const auto run = [&](Backend* backend, const Data& of, HeadShares shares) {
    std::vector<uint32_t> begin(rows.size() * (kGroups + 1));
    backend->grouping_ops()->SumKeySquares(
        {of.k.data(), kGroups * kHeadDim, rows, batch.pages, pool, batch.region});
    const auto cached = shares == HeadShares::kScaledNorm ? std::span<const float>() : of.norms;
    backend->grouping_ops()->AssignHeads(
        {rows, batch.pages, pool, batch.region, shares, cached, 7, begin});
    return std::pair{begin, memory};
  };
  for (const Data& of : data) {
    for (const auto shares :
         {HeadShares::kScaledNorm, HeadShares::kNormDifference, HeadShares::kNormAverage}) {
      const auto want = run(ref_.get(), of, shares);
      InAllSchedules([&] { EXPECT_EQ(run(&cuda_, of, shares), want); });
    }
  }
}

TEST_F(CudaAttention, PagedFollowsEachRowsSplitOfTheHeads) {
  PagedBatch batch({{{0, 1, 2, 3}, {4, 5}, {6}}, 16, 24, DType::kBF16, true, DType::kF32});
  batch.Append(ref_.get());
  ShareTables(&batch);
  const std::vector<uint32_t> splits[] = {{0, 4, 6, 7}, {0, 0, 7, 7}, {0, 1, 1, 7}};
  std::vector<uint32_t> assigned;
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    assigned.insert(assigned.end(), splits[i % 3].begin(), splits[i % 3].end());
  }
  const auto run = [&](Backend* backend) {
    const size_t width = size_t{7} * 24;
    Guarded out = Guarded::Floats(batch.rows.size() * width);
    backend->PagedAttention({.q = batch.q.data(),
                             .q_stride = width,
                             .rows = batch.rows,
                             .pages = batch.pages,
                             .pool = batch.Pool(),
                             .region = batch.region,
                             .groups = {batch.heads, batch.begin},
                             .bias = {batch.bias.data(), 1100, 1099},
                             .out = out.View(batch.rows.size(), width),
                             .assigned = assigned});
    return out;
  };
  EXPECT_TRUE(AllNear(run(&cuda_), run(ref_.get()), DType::kF32, 5e-6));
}

constexpr EncoderCase kDocuments[] = {
    {1, 2, 7, true, DType::kF32},    {17, 3, 24, true, DType::kBF16},
    {65, 2, 64, false, DType::kF32}, {64, 1, 64, true, DType::kBF16},
    {130, 1, 33, true, DType::kF32}, {97, 1, 128, true, DType::kF32},
    {40, 2, 33, true, DType::kBF16}, {97, 1, 128, true, DType::kBF16},
    {1, 1, 64, false, DType::kBF16},
};

TEST_F(CudaAttention, EncoderIsNearRefUnderEverySchedule) {
  for (const EncoderCase& c : kDocuments) {
    const EncoderDocument document(c);
    const Guarded want = document.Run(ref_.get(), 0, c.tokens);
    const double limit = c.out == DType::kBF16 ? 2.5 / 512 : 5e-6;
    InAllSchedules([&] {
      EXPECT_TRUE(AllNear(document.Run(&cuda_, 0, c.tokens), want, c.out, limit)) << c.tokens;
    });
  }
}

TEST_F(CudaAttention, EncoderSlicesHaveTheBitsOfTheWhole) {
  for (const EncoderCase& c : kDocuments) {
    const EncoderDocument document(c);
    const size_t row_bytes = size_t{c.heads} * c.head_dim * ElementBytes(c.out);
    const Guarded whole = document.Run(&cuda_, 0, c.tokens);
    for (const auto& [first, count] : {std::pair{0u, 1u}, {5u, 1u}, {3u, 7u}, {1u, 60u}}) {
      if (first + count > c.tokens) continue;
      const Guarded slice = document.Run(&cuda_, first, count);
      EXPECT_TRUE(slice.intact());
      EXPECT_EQ(
          std::memcmp(slice.data(), static_cast<const std::byte*>(whole.data()) + first * row_bytes,
                      count * row_bytes),
          0)
          << c.tokens << " tokens, rows from " << first;
    }
  }
}

// Of the 16 rows that tensor cores take at a time, and of the 64 of a block.
TEST_F(CudaAttention, EncoderRowsHaveTheirBitsAtEveryPlaceOfATile) {
  for (const uint32_t head_dim : {16u, 64u, 128u}) {
    constexpr uint32_t kTokens = 67;
    const EncoderDocument document({kTokens, 1, head_dim, true, DType::kBF16});
    const Guarded whole = document.Run(&cuda_, 0, kTokens);
    const size_t row_bytes = head_dim * ElementBytes(DType::kBF16);
    for (uint32_t first = 1; first <= 16; ++first) {
      const Guarded slice = document.Run(&cuda_, first, kTokens - first);
      const auto* want = static_cast<const std::byte*>(whole.data()) + first * row_bytes;
      EXPECT_EQ(std::memcmp(slice.data(), want, (kTokens - first) * row_bytes), 0)
          << head_dim << ", rows from " << first;
    }
  }
}

// As the model calls it: the first slice of a layer packs the keys for the others.
TEST_F(CudaAttention, EncoderTakesKeysThatAnEarlierSlicePacked) {
  const EncoderDocument document({70, 2, 33, true, DType::kBF16});
  const Guarded whole = document.Run(&cuda_, 0, 70);
  // Of no alignment, and exactly as large as it must be.
  std::vector<std::byte> packed(EncoderPackedBytes(70, 2, 33) + 1);
  const Guarded begin = document.Run(&cuda_, 0, 37, packed.data() + 1, false);
  const Guarded end = document.Run(&cuda_, 37, 33, packed.data() + 1, true);
  const auto* want = static_cast<const std::byte*>(whole.data());
  EXPECT_EQ(std::memcmp(begin.data(), want, size_t{37} * 66 * 2), 0);
  EXPECT_EQ(std::memcmp(end.data(), want + size_t{37} * 66 * 2, size_t{33} * 66 * 2), 0);
}

TEST_F(CudaAttention, EncoderPassesNanOn) {
  for (const DType out : {DType::kF32, DType::kBF16}) {
    EncoderDocument document({70, 1, 24, true, out});
    const Guarded before = document.Run(&cuda_, 0, 70);
    document.qkv[65 * document.stride + 2 * 24 + 5] = NAN;  // a value of the last tile
    const Guarded after = document.Run(&cuda_, 0, 70);
    for (size_t i = 0; i < after.size(); ++i) {
      EXPECT_TRUE(i % 24 == 5 ? std::isnan(after.at(i)) : after.at(i) == before.at(i)) << i;
    }
  }
}

TEST_F(CudaAttention, EncoderSurvivesScoresFarApart) {
  EncoderDocument document({70, 1, 16, true, DType::kF32});
  for (float& x : document.qkv) x *= 16.0f;
  EXPECT_TRUE(
      AllNear(document.Run(&cuda_, 0, 70), document.Run(ref_.get(), 0, 70), DType::kF32, 2e-2));
}

}  // namespace
}  // namespace precis
