// ReduceScores of the cpu backend against ref: odd widths of panels, ties, infinities, NaN.
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/score_testing.h"

namespace precis {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

TEST(ScoreOps, ReductionEqualsRef) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (const size_t vocab : {1, 7, 16, 17, 64, 1001, 5000}) {
    for (const size_t width : {size_t{3}, size_t{64}, size_t{1000}, vocab}) {
      for (const size_t most : {1, 2, 32}) {
        constexpr size_t kRows = 5;
        auto scores = RandomFloats(kRows * vocab, static_cast<uint32_t>(vocab + most), 30.0f);
        // Many equals, and some that are impossible.
        for (size_t i = 0; i < scores.size(); ++i) {
          scores[i] = i % 5 == 3 ? kImpossible : std::round(scores[i]);
        }
        Reductions got(kRows, most, most > 1);
        Reductions want(kRows, most, most > 1);
        Reduce(*cpu, scores, vocab, width, &got);
        Reduce(*ref, scores, vocab, width, &want);
        ExpectSame(got, want);
      }
    }
  }
}

TEST(ScoreOps, AnImpossibleRowHasNoBestAndOneOfNanNoMaximum) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  for (const size_t width : {7, 100}) {
    Reductions none(1, 4, true);
    Reduce(*cpu, std::vector<float>(100, kImpossible), 100, width, &none);
    EXPECT_EQ(none.rows[0].num_best, 0u);
    EXPECT_EQ(none.rows[0].sum, 0);
    Reductions nan(1, 4, true);
    Reduce(*cpu, std::vector<float>(100, NAN), 100, width, &nan);
    EXPECT_EQ(nan.rows[0].num_best, 0u);
    EXPECT_TRUE(std::isnan(nan.rows[0].max));
  }
}

// Also in a row of which no sum is asked, among other numbers, and in a panel before others.
TEST(ScoreOps, OneNanIsTheMaximum) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  const auto ref = Ref();
  for (Backend* backend : {cpu.get(), ref.get()}) {
    for (const size_t at : {0, 3, 64, 65, 199}) {
      for (const bool sums : {false, true}) {
        auto scores = RandomFloats(400, 9, 10.0f);
        scores[at] = NAN;
        Reductions got(2, 4, sums);
        Reduce(*backend, scores, 200, 50, &got);
        EXPECT_TRUE(std::isnan(got.rows[0].max)) << at << sums;
        EXPECT_FALSE(std::isnan(got.rows[1].max)) << at << sums;
        EXPECT_EQ(got.rows[1].num_best, 4u);
      }
    }
  }
}

TEST(ScoreOps, RowsDoNotDependOnTheirNeighbours) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  constexpr size_t kRows = 40;
  constexpr size_t kVocab = 3001;
  const auto scores = RandomFloats(kRows * kVocab, 3, 10.0f);
  Reductions all(kRows, 8, true);
  Reduce(*cpu, scores, kVocab, 1024, &all);
  for (size_t i = 0; i < kRows; ++i) {
    const auto at = scores.begin() + static_cast<ptrdiff_t>(i * kVocab);
    Reductions one(1, 8, true);
    Reduce(*cpu, {at, at + kVocab}, kVocab, 1024, &one);
    EXPECT_EQ(one.rows[0].sum, all.rows[i].sum) << i;
    EXPECT_EQ(one.rows[0].best[7].token, all.rows[i].best[7].token) << i;
  }
}

}  // namespace
}  // namespace precis
