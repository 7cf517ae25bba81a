// How query heads are assigned by norms of keys, against docs/design/attention_variants.md; and
// the sums of squares that pages keep for it.
#include "kernels/head_assignment.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/copy_slots.h"
#include "kernels/grouping_ops.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

using ::testing::ElementsAre;

// Query heads of each KV head, by norms (not their squares).
std::vector<uint32_t> Assigned(const std::vector<float>& norms, HeadShares shares,
                               uint32_t num_heads, const std::vector<float>& cached = {}) {
  std::vector<float> squares;
  for (const float norm : norms) squares.push_back(norm * norm);
  std::vector<uint32_t> begin(norms.size() + 1, 99);
  AssignHeadsByNorms(squares, shares, cached, num_heads, begin);
  EXPECT_EQ(begin.front(), 0u);
  EXPECT_EQ(begin.back(), num_heads);
  std::vector<uint32_t> counts;
  for (size_t g = 0; g < norms.size(); ++g) counts.push_back(begin[g + 1] - begin[g]);
  return counts;
}

TEST(AssignHeads, TwoKvHeadsAreWinnerTakesAll) {
  EXPECT_THAT(Assigned({3, 2}, HeadShares::kScaledNorm, 8), ElementsAre(8, 0));
  EXPECT_THAT(Assigned({2, 2.0001f}, HeadShares::kScaledNorm, 8), ElementsAre(0, 8));
}

TEST(AssignHeads, FollowsTheScaledNorms) {
  // (n - 1) / 3: 0, 1, 2/3, 1/3; of their sum 2, by 8 heads: 0, 4, 2.67, 1.33.
  EXPECT_THAT(Assigned({1, 4, 3, 2}, HeadShares::kScaledNorm, 8), ElementsAre(0, 4, 3, 1));
}

TEST(AssignHeads, RoundsHalvesToTheEvenNeighbour) {
  // Shares 0, 2.5, 2.5 of 5: 2 and 2, and the one that is left goes to the least.
  EXPECT_THAT(Assigned({1, 2, 2}, HeadShares::kScaledNorm, 5), ElementsAre(1, 2, 2));
  // Shares 0, 3.5, 3.5 of 7: 4 and 4 are one too many, which the first gives.
  EXPECT_THAT(Assigned({1, 2, 2}, HeadShares::kScaledNorm, 7), ElementsAre(0, 3, 4));
}

TEST(AssignHeads, OfEqualsTheFirstIsFilledUp) {
  // Four shares of 1/4 of 2 heads: 0.5 each, which rounds to 0.
  EXPECT_THAT(Assigned({1, 1, 1, 1}, HeadShares::kNormAverage, 2, {1, 1, 1, 1}),
              ElementsAre(1, 1, 0, 0));
}

TEST(AssignHeads, EqualNormsAreSplitEvenly) {
  EXPECT_THAT(Assigned({2, 2, 2}, HeadShares::kScaledNorm, 8), ElementsAre(3, 3, 2));
  EXPECT_THAT(Assigned({0, 0}, HeadShares::kScaledNorm, 5), ElementsAre(3, 2));
  EXPECT_THAT(Assigned({5}, HeadShares::kScaledNorm, 6), ElementsAre(6));
}

TEST(AssignHeads, ByDifferenceToTheCachedNorm) {
  EXPECT_THAT(Assigned({4, 7}, HeadShares::kNormDifference, 8, {1, 8}), ElementsAre(6, 2));
  EXPECT_THAT(Assigned({4, 7, 1}, HeadShares::kNormDifference, 8, {4, 7, 1}), ElementsAre(3, 3, 2))
      << "all differences are 0";
}

TEST(AssignHeads, ByAverageWithTheCachedNorm) {
  // 0.9 * 1 + 0.1 * 21 = 3 and 0.9 * 1 + 0.1 * 1 = 1.
  EXPECT_THAT(Assigned({1, 1}, HeadShares::kNormAverage, 8, {21, 1}), ElementsAre(6, 2));
  EXPECT_THAT(Assigned({0, 0}, HeadShares::kNormAverage, 8, {0, 0}), ElementsAre(4, 4));
}

TEST(AssignHeads, KeysThatAreNotFiniteAreSplitEvenly) {
  for (const float bad : {NAN, INFINITY}) {
    for (const HeadShares shares :
         {HeadShares::kScaledNorm, HeadShares::kNormDifference, HeadShares::kNormAverage}) {
      EXPECT_THAT(Assigned({1, bad}, shares, 6, {1, 1}), ElementsAre(3, 3));
      EXPECT_THAT(Assigned({bad, bad}, shares, 6, {1, 1}), ElementsAre(3, 3));
    }
  }
}

TEST(AssignHeads, AlwaysAssignsAllHeads) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const uint32_t groups = 1 + seed % 9;
    auto norms = RandomFloats(groups, seed);
    auto cached = RandomFloats(groups, seed + 5000);
    for (size_t g = 0; g < groups; ++g) {
      norms[g] = std::abs(norms[g]);
      cached[g] = std::abs(cached[g]);
    }
    for (const HeadShares shares :
         {HeadShares::kScaledNorm, HeadShares::kNormDifference, HeadShares::kNormAverage}) {
      const uint32_t num_heads = 1 + seed % 33;
      const std::vector<uint32_t> counts = Assigned(norms, shares, num_heads, cached);
      EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0u), num_heads);
    }
  }
}

// A sequence's keys in pages of 3 slots, 2 KV heads of 5.
class KeySquares : public ::testing::Test {
 protected:
  static constexpr uint32_t kHeads = 2;
  static constexpr uint32_t kDim = 5;
  static constexpr uint32_t kWidth = kHeads * kDim;

  KeySquares() : memory_(4 * kPageBytes / sizeof(float), NAN) {
    region_ = {.v_offset = 128,
               .slots = 3,
               .num_kv_heads = kHeads,
               .head_dim = kDim,
               .keeps_key_squares = true,
               .key_squares_offset = 256};
  }
  KvPool Pool() { return {reinterpret_cast<std::byte*>(memory_.data()), kPageBytes}; }
  float* At(uint32_t page, uint32_t slot) {
    return memory_.data() + (page * kPageBytes + region_.key_squares_offset) / sizeof(float) +
           slot * kHeads;
  }
  void Sum(const std::vector<float>& k, const std::vector<PagedRow>& rows) {
    backend_->grouping_ops()->SumKeySquares({k.data(), kWidth, rows, pages_, Pool(), region_});
  }

  static constexpr size_t kPageBytes = 320;
  std::vector<float> memory_;
  KvRegion region_;
  const std::vector<int32_t> pages_ = {2, 0, 3};  // of the sequence
  std::unique_ptr<Backend> backend_ = Ref();
};

TEST_F(KeySquares, AddUpAlongTheSequenceInWhateverPieces) {
  constexpr uint32_t kKeys = 8;
  const auto k = RandomFloats(kKeys * kWidth, 3, 4.0f);
  std::vector<PagedRow> rows;
  for (uint32_t key = 0; key < kKeys; ++key) rows.push_back({0, key + 1, key});
  Sum(k, rows);
  const std::vector<float> at_once = memory_;
  double sums[kHeads] = {0, 0};
  for (uint32_t key = 0; key < kKeys; ++key) {
    for (uint32_t g = 0; g < kHeads; ++g) {
      for (uint32_t d = 0; d < kDim; ++d) {
        const double x = k[key * kWidth + g * kDim + d];
        sums[g] += x * x;
      }
      EXPECT_NEAR(At(static_cast<uint32_t>(pages_[key / 3]), key % 3)[g], sums[g], sums[g] * 1e-6);
    }
  }
  // One at a time, as decode steps bring them; and again, as a recomputed sequence does.
  std::ranges::fill(memory_, NAN);
  for (int round = 0; round < 2; ++round) {
    for (uint32_t key = 0; key < kKeys; ++key) {
      Sum({k.begin() + key * kWidth, k.begin() + (key + 1) * kWidth}, {rows[key]});
    }
    EXPECT_EQ(std::memcmp(memory_.data(), at_once.data(), memory_.size() * sizeof(float)), 0);
  }
}

TEST_F(KeySquares, GoWithTheSlotsThatACopyTakes) {
  const auto k = RandomFloats(3 * kWidth, 4);
  Sum(k, {{0, 1, 0}, {0, 2, 1}, {0, 3, 2}});
  const KvRegion regions[] = {region_};
  CopyPageSlots(Pool(), regions, {.from = 2, .to = 1, .slots = 2});
  for (const uint32_t slot : {0u, 1u}) {
    for (uint32_t g = 0; g < kHeads; ++g) EXPECT_EQ(At(1, slot)[g], At(2, slot)[g]);
  }
  EXPECT_TRUE(std::isnan(At(1, 2)[0]));
}

TEST_F(KeySquares, AssignTheHeadsOfEveryRowByItsLastKey) {
  std::vector<float> k(2 * kWidth, 0.0f);
  k[0] = 1.0f;           // key 0: the first KV head is ahead
  k[kWidth + 7] = 2.0f;  // key 1: the second has caught up
  Sum(k, {{0, 1, 0}, {0, 2, 1}});
  const std::vector<PagedRow> rows = {{0, 1, 0}, {0, 2, 1}, {0, 2, 1}, {0, 1, 0}};
  std::vector<uint32_t> begin(rows.size() * 3);
  backend_->grouping_ops()->AssignHeads({.rows = rows,
                                         .pages = pages_,
                                         .pool = Pool(),
                                         .region = region_,
                                         .shares = HeadShares::kScaledNorm,
                                         .cached_norms = {},
                                         .num_heads = 4,
                                         .begin = begin});
  EXPECT_THAT(begin, ElementsAre(0, 4, 4, 0, 0, 4, 0, 0, 4, 0, 4, 4));
}

}  // namespace
}  // namespace precis
