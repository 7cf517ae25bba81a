// Reductions of rows of scores, for tests of ReduceScores on any backend.
//
// Thread rule: one test thread.
#pragma once

#include <algorithm>
#include <vector>

#include "tests/kernels/kernel_testing.h"

namespace precis {

// Reductions of some rows, of at most so many best tokens each.
struct Reductions {
  Reductions(size_t num_rows, size_t most, bool sums) : room(num_rows * most) {
    for (size_t i = 0; i < num_rows; ++i) {
      rows.push_back({.best = {&room[i * most], most}, .wants_sum = sums});
    }
  }
  std::vector<TokenScore> room;
  std::vector<ScoreReduction> rows;
};

// scores: [rows, vocab], handed over in panels of `width`.
inline void Reduce(Backend& backend, const std::vector<float>& scores, size_t vocab, size_t width,
                   Reductions* out) {
  const size_t rows = out->rows.size();
  for (size_t first = 0; first < vocab; first += width) {
    const size_t count = std::min(width, vocab - first);
    std::vector<float> panel;  // exactly as large as it must be
    for (size_t i = 0; i < rows; ++i) {
      const auto at = scores.begin() + static_cast<ptrdiff_t>(i * vocab + first);
      panel.insert(panel.end(), at, at + static_cast<ptrdiff_t>(count));
    }
    backend.ReduceScores({panel.data(), count, static_cast<int32_t>(first), out->rows});
  }
}

inline void ExpectSame(const Reductions& got, const Reductions& want) {
  for (size_t i = 0; i < want.rows.size(); ++i) {
    ASSERT_EQ(got.rows[i].num_best, want.rows[i].num_best) << i;
    for (size_t j = 0; j < want.rows[i].num_best; ++j) {
      EXPECT_EQ(got.rows[i].best[j].token, want.rows[i].best[j].token) << i << " " << j;
      EXPECT_EQ(got.rows[i].best[j].score, want.rows[i].best[j].score) << i << " " << j;
    }
    EXPECT_EQ(got.rows[i].max, want.rows[i].max) << i;
    EXPECT_NEAR(got.rows[i].sum, want.rows[i].sum, 1e-6 * want.rows[i].sum) << i;
  }
}

}  // namespace precis
