// What rows cost, from what was measured.
#include "engine/drafting/step_cost.h"

#include <array>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(StepCost, HasTheRowBucketsOfTheGemms) {
  EXPECT_THAT(StepCost::Buckets(1), testing::ElementsAre(1));
  EXPECT_THAT(StepCost::Buckets(6), testing::ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(StepCost::Buckets(40), testing::ElementsAre(1, 2, 4, 8, 16, 32, 48));
}

TEST(StepCost, RowsUpToTheEndOfABucketCostTheSame) {
  const StepCost cost(16, std::array{10.0, 11.0, 12.0, 14.0, 20.0});
  EXPECT_EQ(cost.Us(1), 10);
  EXPECT_EQ(cost.Us(2), 11);
  EXPECT_EQ(cost.Us(5), 14);
  EXPECT_EQ(cost.Us(8), 14);
  EXPECT_EQ(cost.Us(9), 20);
}

TEST(StepCost, IsProportionalBehindWhatWasMeasured) {
  const StepCost cost(64, std::array{10.0, 12.0});
  EXPECT_EQ(cost.Us(4), 24);
  EXPECT_EQ(cost.Us(64), 12 * 32);
}

TEST(StepCost, IgnoresAnInterruptionOfTheMeasurement) {
  const StepCost cost(8, std::array{10.0, 900.0, 12.0, 14.0});
  EXPECT_EQ(cost.Us(2), 20);  // two steps would do it
  EXPECT_EQ(cost.Us(8), 20);  // never less for more rows
}

TEST(StepCost, FollowsStepsThatAllGetSlower) {
  StepCost cost(8, std::array{10.0, 11.0, 12.0, 14.0});
  for (int i = 0; i < 60; ++i) cost.Observe(i % 2 == 0 ? 1 : 8, i % 2 == 0 ? 30.0 : 42.0);
  EXPECT_NEAR(cost.Us(1), 30, 2);
  EXPECT_NEAR(cost.Us(8), 42, 3);
  EXPECT_NEAR(cost.Us(4), 36, 6);  // never seen
}

TEST(StepCost, LearnsAnotherShape) {
  StepCost cost(8, std::array{10.0, 10.0, 10.0, 10.0});
  for (int i = 0; i < 600; ++i) cost.Observe(i % 2 == 0 ? 1 : 8, i % 2 == 0 ? 10.0 : 40.0);
  EXPECT_GT(cost.Us(8) / cost.Us(1), 3.0);
}

TEST(StepCost, OneOutlierCountsLittle) {
  StepCost cost(8, std::array{10.0, 11.0, 12.0, 14.0});
  for (int i = 0; i < 20; ++i) cost.Observe(1, 10);
  EXPECT_NEAR(cost.Observe(1, 1e9), 20, 1e-6);
  EXPECT_LT(cost.Us(1), 15);
  EXPECT_GT(cost.Us(8) / cost.Us(1), 1.3);  // the scale takes it
}

}  // namespace
}  // namespace precis
