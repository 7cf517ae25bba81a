#include "common/check.h"

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(Check, EvaluatesItsConditionOnce) {
  int calls = 0;
  PRECIS_CHECK(++calls == 1);
  EXPECT_EQ(calls, 1);
}

TEST(CheckDeathTest, AbortsWithFileAndCondition) {
  const int pages = 3;
  EXPECT_DEATH(PRECIS_CHECK(pages == 4), "check_test.cc:[0-9]+: check failed: pages == 4");
}

}  // namespace
}  // namespace precis
