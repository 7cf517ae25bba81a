#include "tools/bench/arrivals.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(PoissonArrivals, AreThoseOfTheSeed) {
  // Also in tests/bench/comparison_test.py: both sides send at the same times.
  const std::vector<double> arrivals = PoissonArrivals(1, 2, 3);
  EXPECT_EQ(arrivals, PoissonArrivals(1, 2, 3));
  EXPECT_NE(arrivals, PoissonArrivals(2, 2, 3));
  EXPECT_NEAR(arrivals[0], 0.4180027673851796, 1e-12);
  EXPECT_NEAR(arrivals[2], 2.8730610485262593, 1e-12);
}

TEST(PoissonArrivals, AnotherRateStretchesThePattern) {
  const std::vector<double> slow = PoissonArrivals(7, 1, 100);
  const std::vector<double> fast = PoissonArrivals(7, 4, 100);
  for (size_t i = 0; i < slow.size(); ++i) EXPECT_NEAR(slow[i], 4 * fast[i], 1e-9);
}

TEST(PoissonArrivals, GapsAreExponential) {
  constexpr size_t kCount = 100'000;
  const std::vector<double> arrivals = PoissonArrivals(3, 5, kCount);
  EXPECT_TRUE(std::ranges::is_sorted(arrivals));
  EXPECT_NEAR(arrivals.back() * 5 / kCount, 1, 0.02);
  size_t longer = 0;  // than the mean gap: one in e
  for (size_t i = 1; i < kCount; ++i) longer += arrivals[i] - arrivals[i - 1] > 0.2 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(longer) / kCount, std::exp(-1), 0.01);
}

TEST(Percentile, IsTheNearestRank) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  EXPECT_EQ(Percentile(values, 0.50), 50);
  EXPECT_EQ(Percentile(values, 0.95), 95);
  EXPECT_EQ(Percentile(values, 0.99), 99);
  EXPECT_EQ(Percentile(values, 1), 100);
  EXPECT_EQ(Percentile({7}, 0.95), 7);
  EXPECT_EQ(Percentile({1, 2, 3}, 0.95), 3);
  EXPECT_EQ(Percentile({}, 0.5), 0);
}

double Found(double first, double truth, uint32_t* trials) {
  *trials = 0;
  return FindHighestRate({first, 1.05, 12},
                         [&](double rate) -> StatusOr<bool> {
                           ++*trials;
                           return rate <= truth;
                         })
      .value();
}

TEST(FindHighestRate, ComesWithinTheRatioFromBothSides) {
  for (const double first : {0.1, 1.0, 3.0, 40.0}) {
    uint32_t trials = 0;
    const double found = Found(first, 3.3, &trials);
    EXPECT_LE(found, 3.3) << first;
    EXPECT_GE(found * 1.05, 3.3) << first;
    EXPECT_LE(trials, 12u) << first;
  }
}

TEST(FindHighestRate, IsZeroWhereNoneHeld) {
  uint32_t trials = 0;
  EXPECT_EQ(Found(1, 0, &trials), 0);
  EXPECT_EQ(trials, 12u);
}

TEST(FindHighestRate, EndsWithAnError) {
  uint32_t trials = 0;
  const auto found = FindHighestRate({}, [&](double) -> StatusOr<bool> {
    if (++trials == 2) return Unavailable("gone");
    return true;
  });
  EXPECT_EQ(found.status(), Unavailable("gone"));
  EXPECT_EQ(trials, 2u);
}

}  // namespace
}  // namespace precis
