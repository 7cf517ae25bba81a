// SummarizeScores of the cpu backend against ref: odd widths of panels, ties, infinities, NaN.
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// Summaries of some rows over panels of given widths.
struct Summaries {
  Summaries(size_t num_rows, size_t most, bool sums) : room(num_rows * most) {
    for (size_t i = 0; i < num_rows; ++i) {
      rows.push_back({.best = {&room[i * most], most}, .wants_sum = sums});
    }
  }
  std::vector<TokenScore> room;
  std::vector<ScoreSummary> rows;
};

void Summarize(Backend& backend, const std::vector<float>& scores, size_t vocab, size_t width,
               Summaries* out) {
  const size_t rows = out->rows.size();
  for (size_t first = 0; first < vocab; first += width) {
    const size_t count = std::min(width, vocab - first);
    std::vector<float> panel;  // exactly as large as it must be
    for (size_t i = 0; i < rows; ++i) {
      const auto at = scores.begin() + static_cast<ptrdiff_t>(i * vocab + first);
      panel.insert(panel.end(), at, at + static_cast<ptrdiff_t>(count));
    }
    backend.SummarizeScores({panel.data(), count, static_cast<int32_t>(first), out->rows});
  }
}

void ExpectSame(const Summaries& got, const Summaries& want) {
  for (size_t i = 0; i < want.rows.size(); ++i) {
    ASSERT_EQ(got.rows[i].num_best, want.rows[i].num_best) << i;
    for (size_t j = 0; j < want.rows[i].num_best; ++j) {
      EXPECT_EQ(got.rows[i].best[j].token, want.rows[i].best[j].token) << i << " " << j;
      EXPECT_EQ(got.rows[i].best[j].score, want.rows[i].best[j].score) << i << " " << j;
    }
    if (!want.rows[i].wants_sum) continue;
    EXPECT_EQ(got.rows[i].max, want.rows[i].max) << i;
    EXPECT_NEAR(got.rows[i].sum, want.rows[i].sum, 1e-6 * want.rows[i].sum) << i;
  }
}

TEST(ScoreOps, SummaryEqualsRef) {
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
        Summaries got(kRows, most, most > 1);
        Summaries want(kRows, most, most > 1);
        Summarize(*cpu, scores, vocab, width, &got);
        Summarize(*ref, scores, vocab, width, &want);
        ExpectSame(got, want);
      }
    }
  }
}

TEST(ScoreOps, AnImpossibleRowHasNoBestAndOneOfNanNoMaximum) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  for (const size_t width : {7, 100}) {
    Summaries none(1, 4, true);
    Summarize(*cpu, std::vector<float>(100, kImpossible), 100, width, &none);
    EXPECT_EQ(none.rows[0].num_best, 0u);
    EXPECT_EQ(none.rows[0].sum, 0);
    Summaries nan(1, 4, true);
    Summarize(*cpu, std::vector<float>(100, NAN), 100, width, &nan);
    EXPECT_EQ(nan.rows[0].num_best, 0u);
    EXPECT_TRUE(std::isnan(nan.rows[0].max));
  }
}

TEST(ScoreOps, RowsDoNotDependOnTheirNeighbours) {
  const auto cpu = Cpu(3);
  PRECIS_SKIP_WITHOUT(cpu);
  constexpr size_t kRows = 40;
  constexpr size_t kVocab = 3001;
  const auto scores = RandomFloats(kRows * kVocab, 3, 10.0f);
  Summaries all(kRows, 8, true);
  Summarize(*cpu, scores, kVocab, 1024, &all);
  for (size_t i = 0; i < kRows; ++i) {
    const auto at = scores.begin() + static_cast<ptrdiff_t>(i * kVocab);
    Summaries one(1, 8, true);
    Summarize(*cpu, {at, at + kVocab}, kVocab, 1024, &one);
    EXPECT_EQ(one.rows[0].sum, all.rows[i].sum) << i;
    EXPECT_EQ(one.rows[0].best[7].token, all.rows[i].best[7].token) << i;
  }
}

}  // namespace
}  // namespace precis
