#include "engine/sched/encode_pace.h"

#include <limits>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(EncodePace, IsAShareOfADecodeStep) {
  EncodePace pace(0.5);
  EXPECT_EQ(pace.BudgetMicroseconds(), 0) << "nothing has decoded yet";
  for (int i = 0; i < 100; ++i) pace.Observe(1000, 0, 0);
  EXPECT_NEAR(pace.BudgetMicroseconds(), 500, 1);
}

TEST(EncodePace, AnInfiniteShareIsForAllDocumentsAtOnce) {
  EncodePace pace(std::numeric_limits<double>::infinity());
  EXPECT_TRUE(pace.Unlimited());
  EXPECT_GT(pace.BudgetMicroseconds(), 1e300) << "also before anything has decoded";
  pace.Observe(1000, 500, 500);
  EXPECT_GT(pace.BudgetMicroseconds(), 1e300);
  EXPECT_FALSE(EncodePace(1000).Unlimited());
}

TEST(EncodePace, CorrectsPredictionsThatAreTooLow) {
  EncodePace pace(1.0);
  for (int i = 0; i < 200; ++i) pace.Observe(1000, 500, 1500);
  EXPECT_NEAR(pace.BudgetMicroseconds(), 1000.0 / 3, 5);
  for (int i = 0; i < 200; ++i) pace.Observe(1000, 500, 250);
  EXPECT_NEAR(pace.BudgetMicroseconds(), 2000, 20) << "and those that are too high";
}

TEST(EncodePace, LeavesRoomForErrorsThatVary) {
  EncodePace even(1.0);
  EncodePace uneven(1.0);
  for (int i = 0; i < 200; ++i) {
    even.Observe(1000, 500, 500);
    uneven.Observe(1000, 500, i % 2 == 0 ? 250 : 750);
  }
  EXPECT_LT(uneven.BudgetMicroseconds(), 0.6 * even.BudgetMicroseconds());
}

TEST(EncodePace, DecodingThatEncodingSlowsDownMakesLittleRoomForMore) {
  EncodePace pace(1.0);
  for (int i = 0; i < 100; ++i) pace.Observe(1000, 0, 0);
  for (int i = 0; i < 10; ++i) pace.Observe(2000, 1000, 1000);
  EXPECT_LT(pace.BudgetMicroseconds(), 1250);
  for (int i = 0; i < 1000; ++i) pace.Observe(2000, 1000, 1000);
  EXPECT_NEAR(pace.BudgetMicroseconds(), 2000, 20) << "but a larger batch does, in time";
}

TEST(EncodePace, OneMadMeasurementDoesNotStopEncoding) {
  EncodePace pace(1.0);
  for (int i = 0; i < 100; ++i) pace.Observe(1000, 500, 500);
  pace.Observe(1000, 1, 1e9);  // error 1.9, spread 0.9
  EXPECT_GT(pace.BudgetMicroseconds(), 200);
}

}  // namespace
}  // namespace precis
