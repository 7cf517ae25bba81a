// What beams share, and what sharing costs: one fact a test.
#include "engine/sched/self_pages.h"

#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t kSlots = 4;

static_assert(!std::is_copy_constructible_v<SelfPages>);
static_assert(std::is_nothrow_move_assignable_v<SelfPages>);

// A sequence that is fed position by position.
class SelfPagesTest : public testing::Test {
 protected:
  using Parents = std::vector<uint32_t>;

  void Start(uint32_t beams, uint32_t pages_per_beam) {
    pages_ = SelfPages(pool_, beams, pages_per_beam);
    position_ = 0;
  }

  // Feeds one position, then continues as `parents` say.
  std::vector<PageCopy> Feed(const Parents& parents) {
    std::vector<PageCopy> copies;
    pages_.PrepareWrite(position_++ % kSlots, &copies);
    pages_.Reorder(parents);
    return copies;
  }

  std::vector<PageId> Table(uint32_t beam) const {
    return {pages_.table(beam).begin(), pages_.table(beam).end()};
  }

  PagePool pool_{200};
  SelfPages pages_;
  uint32_t position_ = 0;
};

TEST_F(SelfPagesTest, WorstCaseHasAPageMoreForEachOfSeveralBeams) {
  EXPECT_EQ(SelfPages::WorstCase(1, 7), 7u);
  EXPECT_EQ(SelfPages::WorstCase(2, 7), 16u);
  EXPECT_EQ(SelfPages::WorstCase(16, 3), 64u);
}

TEST_F(SelfPagesTest, HoldsNothingBeforeItIsMade) {
  EXPECT_EQ(pages_.live(), 0u);
  EXPECT_THAT(Table(0), IsEmpty());
}

TEST_F(SelfPagesTest, StartsWithOneBeamAndEverythingPromised) {
  Start(3, 2);
  EXPECT_EQ(pages_.live(), 1u);
  EXPECT_THAT(Table(0), IsEmpty());
  EXPECT_EQ(pool_.promised(), 9u);
  EXPECT_EQ(pool_.leased(), 0u);
}

TEST_F(SelfPagesTest, ASingleBeamTakesAPageWhenAPositionNeedsIt) {
  Start(1, 2);
  for (uint32_t position = 0; position < 2 * kSlots; ++position) {
    EXPECT_THAT(Feed({0}), IsEmpty());
    EXPECT_EQ(Table(0).size(), position / kSlots + 1);
    EXPECT_EQ(pool_.leased(PageKind::kSelf), position / kSlots + 1);
    EXPECT_EQ(pages_.promised(), 2 - (position / kSlots + 1));
  }
}

TEST_F(SelfPagesTest, ChildrenShareTheirParentsPages) {
  Start(4, 3);
  Feed({0, 0, 0, 0});
  EXPECT_EQ(pages_.live(), 4u);
  for (uint32_t beam = 1; beam < 4; ++beam) EXPECT_EQ(Table(beam), Table(0));
  EXPECT_EQ(pool_.leased(), 1u) << "a shared page is leased once";
  EXPECT_EQ(pool_.holders(Table(0)[0]), 4u);
}

TEST_F(SelfPagesTest, WChildrenOfOneParentCostWMinusOneCopiesInsideAPage) {
  Start(16, 3);
  Feed(Parents(16, 0));
  const PageId original = Table(0)[0];
  const std::vector<PageCopy> copies = Feed(Parents(16, 3));
  ASSERT_EQ(copies.size(), 15u);
  for (const PageCopy& copy : copies) {
    EXPECT_EQ(copy.from, original);
    EXPECT_EQ(copy.slots, 1u) << "filled slots only";
  }
  EXPECT_EQ(Feed(Parents(16, 15)).size(), 15u);
}

TEST_F(SelfPagesTest, TheLastHolderKeepsTheOriginal) {
  Start(3, 3);
  Feed({0, 0, 0});
  const PageId original = Table(0)[0];
  const std::vector<PageCopy> copies = Feed({0, 1, 2});
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_THAT(Table(0), ElementsAre(copies[0].to));
  EXPECT_THAT(Table(1), ElementsAre(copies[1].to));
  EXPECT_THAT(Table(2), ElementsAre(original));
  EXPECT_EQ(pool_.leased(), 3u);
}

TEST_F(SelfPagesTest, AtAPageBoundaryNothingIsCopied) {
  Start(16, 3);
  for (uint32_t i = 0; i + 1 < kSlots; ++i) Feed({0});
  Feed(Parents(16, 0));
  EXPECT_THAT(Feed(Parents(16, 0)), IsEmpty());
  EXPECT_EQ(position_, kSlots + 1);
  // The full page is one for all; of the new ones only the parent's is left.
  EXPECT_EQ(pool_.leased(), 2u);
  EXPECT_EQ(pool_.holders(Table(0)[0]), 16u);
}

TEST_F(SelfPagesTest, ReorderingWithoutSharingCopiesNothing) {
  Start(3, 3);
  Feed({0, 0, 0});
  Feed({0, 1, 2});
  const std::vector<PageId> tables[] = {Table(0), Table(1), Table(2)};
  EXPECT_THAT(Feed({2, 0, 1}), IsEmpty());
  EXPECT_EQ(Table(0), tables[2]);
  EXPECT_EQ(Table(1), tables[0]);
  EXPECT_EQ(Table(2), tables[1]);
  EXPECT_THAT(Feed({0, 1, 2}), IsEmpty());
  EXPECT_EQ(pool_.leased(), 3u);
}

TEST_F(SelfPagesTest, PagesOfADroppedBeamGoBackToThePoolAndToThePromise) {
  Start(2, 3);
  Feed({0, 0});
  Feed({0, 1});
  EXPECT_EQ(pool_.leased(), 2u);
  EXPECT_EQ(pages_.promised(), 6u);
  Feed({1, 1});
  EXPECT_EQ(pool_.leased(), 1u);
  EXPECT_EQ(pages_.promised(), 7u);
  EXPECT_EQ(pool_.promised(), 7u);
}

TEST_F(SelfPagesTest, BeamsMayBecomeFewerAndMore) {
  Start(3, 3);
  Feed({0, 0, 0});
  Feed({2});
  EXPECT_EQ(pages_.live(), 1u);
  EXPECT_THAT(Feed({0, 0}), IsEmpty()) << "nothing was shared when it wrote";
  EXPECT_EQ(pages_.live(), 2u);
  EXPECT_EQ(Feed({0, 1, 1}).size(), 1u);
  EXPECT_EQ(pages_.live(), 3u);
}

// Beams that never share again hold all tables in full, and do not touch the page a beam that the
// worst case has for copies.
TEST_F(SelfPagesTest, FullTablesLeaveThePagesForCopiesPromised) {
  constexpr uint32_t kBeams = 5;
  Start(kBeams, 4);
  Parents own(kBeams);
  std::iota(own.begin(), own.end(), 0);
  Feed(Parents(kBeams, 0));
  // Distinct from the first page on: all but one beam copy it.
  while (position_ < 4 * kSlots) Feed(own);
  EXPECT_EQ(pool_.leased(), 20u);
  EXPECT_EQ(pages_.promised(), kBeams);
}

TEST_F(SelfPagesTest, GivesEverythingBackOnceHoweverItIsShared) {
  Start(4, 3);
  Feed({0, 0, 0, 0});
  Feed({0, 0, 1, 3});
  pages_.Reset();
  EXPECT_EQ(pool_.available(), 200u);
  EXPECT_EQ(pages_.live(), 0u);
  pages_.Reset();
  EXPECT_EQ(pool_.available(), 200u);
}

TEST_F(SelfPagesTest, MovesWithoutGivingBack) {
  Start(2, 3);
  Feed({0, 0});
  const std::vector<PageId> table = Table(1);
  SelfPages other = std::move(pages_);
  EXPECT_EQ(pages_.live(), 0u);  // NOLINT(bugprone-use-after-move): the contract says empty
  EXPECT_EQ(pool_.leased(), 1u);
  EXPECT_THAT(other.table(1), testing::ElementsAreArray(table));
  Start(1, 1);
  pages_ = std::move(other);  // gives its own promise back first
  EXPECT_EQ(pool_.leased() + pool_.promised(), 8u);
  EXPECT_EQ(Table(1), table);
}

using SelfPagesDeathTest = SelfPagesTest;

TEST_F(SelfPagesDeathTest, RefusesParentsThatAreNotThere) {
  Start(2, 3);
  EXPECT_DEATH(Feed({1}), "check failed");
  EXPECT_DEATH(Feed({}), "check failed");
  EXPECT_DEATH(Feed({0, 0, 0}), "check failed");
  Start(1, 3);
  EXPECT_DEATH(Feed({1}), "check failed");
}

TEST_F(SelfPagesDeathTest, RefusesMorePositionsThanItsTableHolds) {
  Start(1, 1);
  for (uint32_t i = 0; i < kSlots; ++i) Feed({0});
  EXPECT_DEATH(Feed({0}), "check failed");
}

}  // namespace
}  // namespace precis
