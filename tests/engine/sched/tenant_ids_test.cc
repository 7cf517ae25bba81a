#include "engine/sched/tenant_ids.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(TenantIds, APrincipalKeepsItsId) {
  TenantIds tenants(8);
  const TenantId a = tenants.Of("a");
  const TenantId b = tenants.Of("b");
  EXPECT_NE(a, b);
  EXPECT_EQ(tenants.Of("a"), a);
  EXPECT_EQ(tenants.Of("b"), b);
}

TEST(TenantIds, NeverHoldsMoreThanItsCapacity) {
  TenantIds tenants(100);
  for (int i = 0; i < 10000; ++i) {
    tenants.Of(std::to_string(i));
    ASSERT_LE(tenants.size(), 100u);
  }
}

// An id that was given again would give one principal's cached documents to another.
TEST(TenantIds, AnIdIsNeverGivenTwice) {
  TenantIds tenants(4);
  std::set<TenantId> given;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(given.insert(tenants.Of(std::to_string(i))).second);
}

TEST(TenantIds, WhoComesAgainAndAgainIsKept) {
  TenantIds tenants(10);
  const TenantId regular = tenants.Of("regular");
  for (int i = 0; i < 1000; ++i) {
    tenants.Of(std::to_string(i));
    ASSERT_EQ(tenants.Of("regular"), regular);
  }
}

}  // namespace
}  // namespace precis
