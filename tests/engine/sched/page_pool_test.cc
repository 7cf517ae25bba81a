#include "engine/sched/page_pool.h"

#include <optional>
#include <set>
#include <type_traits>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

static_assert(!std::is_copy_constructible_v<PageLease>);
static_assert(!std::is_copy_constructible_v<PagePromise>);
static_assert(std::is_nothrow_move_constructible_v<PageLease>);
static_assert(std::is_nothrow_move_assignable_v<PagePromise>);

std::set<PageId> SetOf(const PageLease& lease) {
  return {lease.pages().begin(), lease.pages().end()};
}

TEST(PagePool, StartsWithAllPagesAvailable) {
  PagePool pool(5);
  EXPECT_EQ(pool.total(), 5u);
  EXPECT_EQ(pool.available(), 5u);
  EXPECT_EQ(pool.leased(), 0u);
  EXPECT_EQ(pool.promised(), 0u);
  EXPECT_EQ(pool.peak_leased(), 0u);
}

TEST(PagePool, CountsLeasesByKind) {
  PagePool pool(6);
  const PageLease cross = pool.Lease(PageKind::kCross, 3);
  const PageLease self = pool.Lease(PageKind::kSelf, 1);
  EXPECT_EQ(pool.leased(PageKind::kCross), 3u);
  EXPECT_EQ(pool.leased(PageKind::kSelf), 1u);
  EXPECT_EQ(pool.leased(), 4u);
  EXPECT_EQ(pool.available(), 2u);
}

TEST(PagePool, GivesNoPageTwice) {
  PagePool pool(7);
  const PageLease a = pool.Lease(PageKind::kCross, 3);
  const PageLease b = pool.Lease(PageKind::kSelf, 4);
  std::set<PageId> pages = SetOf(a);
  pages.merge(SetOf(b));
  EXPECT_THAT(pages, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

TEST(PagePool, ALeasedPageHasOneHolderAndAFreeOneNone) {
  PagePool pool(2);
  EXPECT_EQ(pool.holders(0), 0u);
  PageLease lease = pool.Lease(PageKind::kCross, 2);
  EXPECT_EQ(pool.holders(0), 1u);
  lease.Reset();
  EXPECT_EQ(pool.holders(0), 0u);
}

TEST(PagePool, TakesPagesBackWhenALeaseIsDestroyed) {
  PagePool pool(4);
  {
    const PageLease lease = pool.Lease(PageKind::kCross, 4);
    EXPECT_EQ(pool.available(), 0u);
  }
  EXPECT_EQ(pool.available(), 4u);
  EXPECT_EQ(pool.leased(PageKind::kCross), 0u);
  EXPECT_EQ(SetOf(pool.Lease(PageKind::kSelf, 4)).size(), 4u);
}

TEST(PagePool, KeepsPromisedPagesFromOthers) {
  PagePool pool(4);
  PagePromise promise = pool.Promise(3);
  EXPECT_EQ(promise.left(), 3u);
  EXPECT_EQ(pool.promised(), 3u);
  EXPECT_EQ(pool.available(), 1u);
  EXPECT_EQ(pool.leased(), 0u);
  promise.Reset();
  EXPECT_EQ(promise.left(), 0u);
  EXPECT_EQ(pool.available(), 4u);
}

TEST(PagePool, MovesLeasesWithoutGivingBack) {
  PagePool pool(4);
  PageLease a = pool.Lease(PageKind::kCross, 2);
  PageLease b = std::move(a);
  EXPECT_TRUE(a.pages().empty());  // NOLINT(bugprone-use-after-move): the contract says empty
  EXPECT_EQ(pool.leased(), 2u);
  PageLease c = pool.Lease(PageKind::kSelf, 1);
  c = std::move(b);  // gives c's own page back first
  EXPECT_EQ(pool.leased(PageKind::kSelf), 0u);
  EXPECT_EQ(pool.leased(PageKind::kCross), 2u);
  c.Reset();
  c.Reset();
  EXPECT_EQ(pool.available(), 4u);
}

TEST(PagePool, MovesPromisesWithoutFreeing) {
  PagePool pool(4);
  PagePromise a = pool.Promise(2);
  PagePromise b = std::move(a);
  EXPECT_EQ(a.left(), 0u);  // NOLINT(bugprone-use-after-move): the contract says empty
  EXPECT_EQ(b.left(), 2u);
  PagePromise c = pool.Promise(1);
  c = std::move(b);
  EXPECT_EQ(pool.promised(), 2u);
}

TEST(PagePool, RemembersTheMostPagesLeasedAtOnce) {
  PagePool pool(8);
  {
    const PageLease a = pool.Lease(PageKind::kCross, 3);
    const PageLease b = pool.Lease(PageKind::kSelf, 2);
    const PagePromise promise = pool.Promise(3);  // a promise is not a lease
  }
  const PageLease c = pool.Lease(PageKind::kSelf, 1);
  EXPECT_EQ(pool.peak_leased(), 5u);
}

TEST(PagePoolDeathTest, RefusesMoreThanIsAvailable) {
  PagePool pool(4);
  const PagePromise promise = pool.Promise(3);
  EXPECT_DEATH(pool.Lease(PageKind::kSelf, 2), "check failed");
  EXPECT_DEATH(pool.Promise(2), "check failed");
}

TEST(PagePoolDeathTest, MayNotDieBeforeItsLeases) {
  const auto die = [] {
    std::optional<PagePool> pool(std::in_place, 2);
    const PageLease lease = pool->Lease(PageKind::kSelf, 1);
    pool.reset();
  };
  EXPECT_DEATH(die(), "check failed");
}

}  // namespace
}  // namespace precis
