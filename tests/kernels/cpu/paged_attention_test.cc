// AppendKv and paged attention of the cpu backend against ref: groups, page sizes, types, batches.
#include "tests/kernels/paged_testing.h"

namespace precis {
namespace {

std::vector<PagedCase> Cases() {
  const std::vector<std::vector<std::vector<uint32_t>>> groupings = {
      {{0}, {1}, {2}},                 // MHA
      {{0, 1, 2}, {3, 4, 5}},          // GQA
      {{0, 1, 2, 3, 4, 5, 6, 7}},      // MQA
      {{0, 5}, {1, 2, 4, 7}, {3, 6}},  // QCQA: unequal, not side by side
      {{4, 1, 0}, {}, {3}, {2}},       // KDGQA: a group may be empty
  };
  std::vector<PagedCase> cases;
  for (const auto& groups : groupings) {
    for (const auto& [slots, head_dim] : {std::pair{16u, 64u},
                                          {16u, 24u},
                                          {1u, 8u},
                                          {7u, 7u},
                                          {17u, 16u},
                                          {6u, 9u},
                                          {12u, 34u},
                                          {64u, 128u},
                                          {100u, 33u}}) {
      // Slots that fill their words have kernels of their own.
      const bool odd = slots == 6 || slots == 12 || (groups.size() + slots) % 2 == 1;
      const DType out = slots == 7 ? DType::kBF16 : DType::kF32;
      cases.push_back(
          {groups, slots, head_dim, odd ? DType::kBF16 : DType::kF32, slots % 2 == 0, out});
      cases.push_back({groups, slots, head_dim, DType::kI8, slots % 2 == 0, out});
    }
    // The page of the models.
    cases.push_back({groups, 16, 64, DType::kF32, true, DType::kF32});
    cases.push_back({groups, 16, 64, DType::kBF16, true, DType::kBF16});
  }
  return cases;
}

class PagedAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cpu_ = Cpu();
    PRECIS_SKIP_WITHOUT(cpu_);
    ASSERT_TRUE(cpu_->Prepare(kPagedLimits).ok());
    ASSERT_TRUE(ref_->Prepare(kPagedLimits).ok());
  }

  // Where an ISA multiplies bf16 or int8, queries and probabilities have 16 bits; that is 2^-8 of
  // what the pages themselves round, or less.
  double Absolute(const PagedCase& c) const {
    const bool is_f32 =
        c.kv == DType::kF32 || cpu_->isa() == "avx2" || c.slots % (4 / ElementBytes(c.kv)) != 0;
    return is_f32 ? 5e-6 : c.kv == DType::kBF16 ? 1e-4 : 3e-4;
  }

  // Rows together have the bits of rows alone, on any number of threads, and are near ref.
  void ExpectBitsOfRowsAlone(PagedBatch& batch, Backend* many_threads) const {
    const PagedCase& c = batch.c;
    const size_t row_bytes = c.num_heads() * c.head_dim * ElementBytes(c.out);
    const Guarded all = batch.Run(cpu_.get(), 0, batch.rows.size());
    const Guarded apart = batch.Run(many_threads, 0, batch.rows.size());
    EXPECT_TRUE(all.intact() && apart.intact()) << c.Name();
    EXPECT_TRUE(AllNear(all, batch.Run(ref_.get(), 0, batch.rows.size()), c.out, Absolute(c)))
        << c.Name();
    EXPECT_EQ(std::memcmp(all.data(), apart.data(), row_bytes * batch.rows.size()), 0) << c.Name();
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const Guarded one = batch.Run(cpu_.get(), i, 1);
      EXPECT_EQ(std::memcmp(one.data(), static_cast<const std::byte*>(all.data()) + i * row_bytes,
                            row_bytes),
                0)
          << c.Name() << ", row " << i;
    }
  }

  std::unique_ptr<Backend> cpu_;
  std::unique_ptr<Backend> ref_ = Ref();
};

TEST_F(PagedAttentionTest, AppendWritesTheBytesThatRefWritesAndNoOthers) {
  for (const PagedCase& c : Cases()) {
    PagedBatch a(c);
    PagedBatch b(c);
    a.Append(cpu_.get());
    b.Append(ref_.get());
    EXPECT_EQ(a.pool, b.pool) << c.Name();
  }
}

// Largest magnitude at 127, ties to even, zeros without a division by zero; the rest of a page that
// nobody has written is left alone.
TEST_F(PagedAttentionTest, AppendsInt8WithAScaleAHeadAndToken) {
  PagedBatch batch({{{0}, {1}}, 4, 3, DType::kI8, false, DType::kF32});
  const std::vector<float> k = {1.0f, -2.0f, 0.5f, 0.0f, 0.0f, 0.0f};
  const std::vector<float> v = {127.0f, 2.5f, -3.5f, 1e-38f, 0.0f, -1e-38f};
  const std::vector<SlotRef> slots = {{0, 2}};
  for (Backend* backend : {cpu_.get(), ref_.get()}) {
    backend->AppendKv({k.data(), v.data(), 6, slots, batch.Pool(), batch.region});
    const std::byte* page = batch.Base();
    const auto* keys = reinterpret_cast<const int8_t*>(page + batch.region.k_offset);
    const auto* values = reinterpret_cast<const int8_t*>(page + batch.region.v_offset);
    const auto* k_scales = reinterpret_cast<const float*>(page + batch.region.k_scale_offset);
    const auto* v_scales = reinterpret_cast<const float*>(page + batch.region.v_scale_offset);
    const int want_keys[] = {64, -127, 32};  // 63.5 and 31.75
    const int want_values[] = {127, 2, -4};
    for (size_t d = 0; d < 3; ++d) {
      // Four dimensions of a key side by side, and four slots of a dimension's values.
      EXPECT_EQ(keys[2 * 4 + d], want_keys[d]);
      EXPECT_EQ(keys[16 + 2 * 4 + d], 0);
      EXPECT_EQ(values[d * 4 + 2], want_values[d]);
      EXPECT_EQ(values[12 + d * 4 + 2], 0);
    }
    EXPECT_EQ(keys[2 * 4 + 3], 0);  // past head_dim
    EXPECT_EQ(k_scales[2], 2.0f / 127.0f);
    EXPECT_EQ(v_scales[2], 1.0f);
    EXPECT_EQ(k_scales[4 + 2], 0.0f);
    EXPECT_EQ(v_scales[4 + 2], 0.0f);
  }
}

// A word of V holds several slots: one written on its own, or again, leaves the others alone.
TEST_F(PagedAttentionTest, AppendInAnyPiecesWritesTheSameBytes) {
  constexpr uint32_t kKeys = 33;
  for (const PagedCase& c : Cases()) {
    PagedBatch whole(c);
    PagedBatch pieces(c);
    const size_t width = c.groups.size() * c.head_dim;
    const auto k = RandomFloats(kKeys * width, 7);
    const auto v = RandomFloats(kKeys * width, 8);
    std::vector<SlotRef> slots;
    const uint32_t first = whole.rows.back().first_page;
    for (uint32_t key = 0; key < kKeys; ++key) {
      slots.push_back({whole.pages[first + key / c.slots], key % c.slots});
    }
    const auto append = [&](PagedBatch* to, Backend* backend, uint32_t at, uint32_t count) {
      backend->AppendKv({k.data() + at * width, v.data() + at * width, width,
                         std::span(slots).subspan(at, count), to->Pool(), to->region});
    };
    append(&whole, ref_.get(), 0, kKeys);
    append(&pieces, cpu_.get(), 5, 20);
    append(&pieces, cpu_.get(), 0, 6);
    for (uint32_t key = kKeys; key-- > 20;) append(&pieces, cpu_.get(), key, 1);
    const size_t bytes = whole.num_pages * whole.page_bytes;
    EXPECT_EQ(std::memcmp(whole.Base(), pieces.Base(), bytes), 0) << c.Name();
  }
}

TEST_F(PagedAttentionTest, IsNearRefForOddShapes) {
  for (const PagedCase& c : Cases()) {
    PagedBatch batch(c);
    batch.Append(ref_.get());
    const Guarded got = batch.Run(cpu_.get(), 0, batch.rows.size());
    const Guarded want = batch.Run(ref_.get(), 0, batch.rows.size());
    EXPECT_TRUE(AllNear(got, want, c.out, Absolute(c))) << c.Name();
  }
}

TEST_F(PagedAttentionTest, RowsInABatchHaveTheBitsOfRowsAlone) {
  const auto other_threads = Cpu(5);
  ASSERT_TRUE(other_threads->Prepare(kPagedLimits).ok());
  for (const PagedCase& c : Cases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    const size_t row_bytes = c.num_heads() * c.head_dim * ElementBytes(c.out);
    const Guarded all = batch.Run(cpu_.get(), 0, batch.rows.size());
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const Guarded one = batch.Run(other_threads.get(), i, 1);
      EXPECT_EQ(std::memcmp(one.data(), static_cast<const std::byte*>(all.data()) + i * row_bytes,
                            row_bytes),
                0)
          << c.Name() << ", row " << i;
    }
  }
}

// Rows that share tables: drafts (a key more each) and beams (the same keys) of sequences around
// the page's and the chunk's size, one of them alone between the others.
void ShareTables(PagedBatch* batch) {
  const size_t last = batch->rows.size() - 1;
  const auto keys = [&](size_t row) { return batch->rows[row].num_keys; };
  const uint32_t whole = keys(last);  // 1100: three chunks
  const std::vector<size_t> from = {last,     last,     last,     last,     0,
                                    last - 1, last - 1, last - 1, last - 1, last - 4,
                                    last - 4, last - 4, last - 4, last - 4, last - 4};
  const uint32_t chunk = keys(last - 1);  // 513: its first rows end with the first chunk
  const uint32_t few = keys(last - 4);
  const std::vector<uint32_t> num_keys = {1,     512, 1023, whole, 1,   chunk - 2, chunk - 1, chunk,
                                          chunk, few, few,  few,   few, few,       few};
  batch->SetRows(from, num_keys);
}

TEST_F(PagedAttentionTest, RowsThatShareATableHaveTheBitsOfRowsAlone) {
  const auto many_threads = Cpu(64);  // more than items: rows are taken apart again
  ASSERT_TRUE(many_threads->Prepare(kPagedLimits).ok());
  for (const PagedCase& c : Cases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    ShareTables(&batch);
    ExpectBitsOfRowsAlone(batch, many_threads.get());
  }
}

// Cases whose heads may be assigned anew: groups of neighbours.
std::vector<PagedCase> AssignedCases() {
  std::vector<PagedCase> cases;
  for (PagedCase& c : Cases()) {
    uint32_t next = 0;
    bool in_order = c.groups.size() > 1;
    for (const auto& group : c.groups) {
      for (const uint32_t head : group) in_order = in_order && head == next++;
    }
    if (in_order) cases.push_back(std::move(c));
  }
  return cases;
}

TEST_F(PagedAttentionTest, RowsWithASplitOfTheirOwnHaveTheBitsOfRowsAloneAndAreNearRef) {
  const auto many_threads = Cpu(64);
  ASSERT_TRUE(many_threads->Prepare(kPagedLimits).ok());
  ASSERT_GE(AssignedCases().size(), 30u);
  for (const PagedCase& c : AssignedCases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    ShareTables(&batch);
    batch.AssignByRow();
    ExpectBitsOfRowsAlone(batch, many_threads.get());
  }
}

TEST_F(PagedAttentionTest, TheEvenSplitHasTheBitsOfStaticGroups) {
  for (const PagedCase& c : AssignedCases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    const Guarded fixed = batch.Run(cpu_.get(), 0, batch.rows.size());
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      batch.assigned.insert(batch.assigned.end(), batch.begin.begin(), batch.begin.end());
    }
    const Guarded assigned = batch.Run(cpu_.get(), 0, batch.rows.size());
    EXPECT_EQ(std::memcmp(fixed.data(), assigned.data(), fixed.size() * ElementBytes(c.out)), 0)
        << c.Name();
  }
}

// A KV head without query heads takes no part, whatever its keys hold.
TEST_F(PagedAttentionTest, AKvHeadThatServesNoHeadIsNotRead) {
  for (const PagedCase& c : AssignedCases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    const auto num_heads = static_cast<uint32_t>(c.num_heads());
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      batch.assigned.insert(batch.assigned.end(), c.groups.size(), 0u);
      batch.assigned.push_back(num_heads);  // all are the last KV head's
    }
    const Guarded before = batch.Run(cpu_.get(), 0, batch.rows.size());
    const size_t last = batch.rows.size() - 1;
    for (const uint32_t key : {0u, 700u}) {
      const PagedRow& row = batch.rows[last];
      const SlotRef slot{batch.pages[row.first_page + key / c.slots], key % c.slots};
      // The last head keeps what it has: its key and value as Append() wrote them.
      const size_t width = c.groups.size() * c.head_dim;
      const float scale = std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim)));
      auto k = RandomFloats(row.num_keys * width, static_cast<uint32_t>(10 + last), scale);
      auto v = RandomFloats(row.num_keys * width, static_cast<uint32_t>(50 + last));
      for (size_t d = 0; d + c.head_dim < width; ++d) k[key * width + d] = NAN;
      for (size_t d = 0; d + c.head_dim < width; ++d) v[key * width + d] = NAN;
      cpu_->AppendKv({k.data() + key * width,
                      v.data() + key * width,
                      width,
                      {&slot, 1},
                      batch.Pool(),
                      batch.region});
    }
    const Guarded after = batch.Run(cpu_.get(), 0, batch.rows.size());
    EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size() * ElementBytes(c.out)), 0)
        << c.Name();
  }
}

// Drafts of one sequence: each sees the keys that the rows before it append in the same call.
TEST_F(PagedAttentionTest, AppendingFirstHasTheBitsOfAppendingBefore) {
  const auto many_threads = Cpu(5);  // more than rows: heads are shared out
  ASSERT_TRUE(many_threads->Prepare(kPagedLimits).ok());
  for (const PagedCase& c : Cases()) {
    for (const uint32_t count : {1u, 3u}) {
      PagedBatch before(c);
      PagedBatch first(c);
      for (PagedBatch* batch : {&before, &first}) {
        batch->Append(cpu_.get());
        const size_t last = batch->rows.size() - 1;
        const std::vector<uint32_t> keys = {1098, 1099, 1100};
        batch->SetRows(std::vector<size_t>(count, last), std::span(keys).first(count));
      }
      const size_t width = c.groups.size() * c.head_dim;
      const auto kv = RandomFloats(count * 2 * width, 9);
      std::vector<SlotRef> slots;
      for (const PagedRow& row : first.rows) {
        slots.push_back(
            {first.pages[row.first_page + row.position / c.slots], row.position % c.slots});
      }
      AppendKvParams append{kv.data(), kv.data() + width, 2 * width,
                            slots,     before.Pool(),     before.region};
      cpu_->AppendKv(append);
      const Guarded want = before.Run(cpu_.get(), 0, count);
      append.pool = first.Pool();
      const Guarded got =
          first.Run(count == 1 ? many_threads.get() : cpu_.get(), 0, count, &append);
      const size_t bytes = count * c.num_heads() * c.head_dim * ElementBytes(c.out);
      EXPECT_EQ(std::memcmp(got.data(), want.data(), bytes), 0) << c.Name();
      EXPECT_EQ(std::memcmp(first.Base(), before.Base(), first.num_pages * first.page_bytes), 0)
          << c.Name();
    }
  }
}

TEST_F(PagedAttentionTest, ADraftThatIsNotFiniteLeavesTheRowsBeforeItAlone) {
  for (const PagedCase& c : Cases()) {
    PagedBatch batch(c);
    batch.Append(cpu_.get());
    const size_t last = batch.rows.size() - 1;
    batch.SetRows(std::vector<size_t>(4, last), std::vector<uint32_t>{1097, 1098, 1099, 1100});
    const Guarded before = batch.Run(cpu_.get(), 0, 4);
    batch.Poison(cpu_.get(), 3, 1099);
    const Guarded after = batch.Run(cpu_.get(), 0, 4);
    const size_t row_bytes = c.num_heads() * c.head_dim * ElementBytes(c.out);
    EXPECT_EQ(std::memcmp(before.data(), after.data(), 3 * row_bytes), 0) << c.Name();
    EXPECT_TRUE(std::isnan(after.at(3 * c.num_heads() * c.head_dim))) << c.Name();
  }
}

TEST_F(PagedAttentionTest, PagesMayBeReadPastThePoolByNoMoreThan64Bytes) {
  // The batch's pool is allocated with exactly 64 bytes behind it and the last page is in use; the
  // address sanitizer sees the rest.
  const PagedCase c = {{{0, 1, 2}}, 7, 7, DType::kF32, true, DType::kF32};
  PagedBatch batch(c);
  batch.Append(cpu_.get());
  EXPECT_TRUE(batch.UsesLastPage());
  EXPECT_TRUE(batch.Run(cpu_.get(), 0, batch.rows.size()).intact());
}

}  // namespace
}  // namespace precis
