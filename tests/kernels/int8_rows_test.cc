// Rows in int8: rounding to the nearest, ties to even, at any length.
#include "kernels/int8_rows.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(Int8Rows, RoundTiesToEvenAtAnyLength) {
  for (size_t n = 1; n <= 40; ++n) {
    std::vector<float> row(n);
    for (size_t i = 0; i < n; ++i) row[i] = static_cast<float>(i % 9) - 4.5f;
    row[n - 1] = -127;  // the scale is 1
    std::vector<int8_t> out(n);
    EXPECT_EQ(RoundRowToInt8(row.data(), n, out.data(), 1), 1.0f);
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(out[i], std::nearbyint(row[i])) << i << " of " << n;
  }
}

TEST(Int8Rows, WhatIsNotFiniteIsSeenAtEveryPlace) {
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (size_t at = 0; at < 19; ++at) {
      std::vector<float> row(19, 1.0f);
      row[at] = bad;
      std::vector<int8_t> out(19, 1);
      EXPECT_TRUE(std::isnan(RoundRowToInt8(row.data(), row.size(), out.data(), 1))) << at;
      EXPECT_EQ(out, std::vector<int8_t>(19, 0));
    }
  }
}

}  // namespace
}  // namespace precis
