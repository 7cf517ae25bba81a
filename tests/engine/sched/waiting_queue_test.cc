#include "engine/sched/waiting_queue.h"

#include <map>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;

constexpr uint32_t kMaxPasses = 3;

class WaitingLineTest : public testing::Test {
 protected:
  void Add(SequenceId id, TenantId tenant, uint64_t cost, Priority priority = Priority::kNormal) {
    places_[id] = {tenant, priority, cost};
    queue_.Add(id, places_[id]);
  }
  void Remove(SequenceId id) { queue_.Remove(id, places_.at(id)); }
  SequenceId Take() {
    const std::optional<SequenceId> head = queue_.head();
    queue_.TakeHead();
    return head.value();
  }
  std::vector<SequenceId> TakeAll() {
    std::vector<SequenceId> ids;
    while (queue_.size() > 0) ids.push_back(Take());
    return ids;
  }

  WaitingQueue queue_{kMaxPasses};
  std::map<SequenceId, WaitingQueue::Place> places_;
};

TEST_F(WaitingLineTest, OneTenantIsServedInTheOrderOfArrivalWhateverThingsCost) {
  Add(5, 0, 1000);
  Add(3, 0, 1);
  Add(9, 0, 100);
  EXPECT_EQ(queue_.size(), 3u);
  EXPECT_EQ(queue_.cost(), 1101u);
  EXPECT_THAT(TakeAll(), ElementsAre(5, 3, 9));
  EXPECT_EQ(queue_.cost(), 0u);
  EXPECT_EQ(queue_.head(), std::nullopt);
}

TEST_F(WaitingLineTest, TenantsTakeTurnsHoweverManyOneOfThemSends) {
  for (SequenceId id = 0; id < 6; ++id) Add(id, 0, 10);
  for (SequenceId id = 10; id < 13; ++id) Add(id, 1, 10);
  EXPECT_THAT(TakeAll(), ElementsAre(0, 10, 1, 11, 2, 12, 3, 4, 5));
}

TEST_F(WaitingLineTest, TurnsAreByCostNotByNumber) {
  for (SequenceId id = 0; id < 3; ++id) Add(id, 0, 40);
  for (SequenceId id = 10; id < 18; ++id) Add(id, 1, 10);
  EXPECT_THAT(TakeAll(), ElementsAre(0, 10, 11, 12, 13, 1, 14, 15, 16, 17, 2));
}

TEST_F(WaitingLineTest, ATenantThatWasAwayHasSavedUpNothing) {
  for (SequenceId id = 0; id < 8; ++id) Add(id, 0, 10);
  for (int i = 0; i < 4; ++i) Take();
  for (SequenceId id = 10; id < 14; ++id) Add(id, 1, 10);
  EXPECT_THAT(TakeAll(), ElementsAre(4, 10, 5, 11, 6, 12, 7, 13));
}

TEST_F(WaitingLineTest, LeavingTheLineCostsATenantNothing) {
  Add(0, 0, 1000);
  Add(1, 0, 10);
  Add(10, 1, 10);
  Add(11, 1, 10);
  Remove(0);
  EXPECT_EQ(queue_.cost(), 30u);
  EXPECT_THAT(TakeAll(), ElementsAre(1, 10, 11));
}

TEST_F(WaitingLineTest, TheHeadStaysWhenATenantWithABetterClaimComes) {
  Add(0, 0, 10);
  Take();
  Add(1, 0, 10);  // tenant 0 has used more than tenant 1, but no one else was there
  ASSERT_EQ(queue_.head(), 1u);
  Add(10, 1, 10);
  EXPECT_THAT(TakeAll(), ElementsAre(1, 10));
}

TEST_F(WaitingLineTest, HigherPrioritiesGoFirst) {
  Add(0, 0, 1, Priority::kLow);
  Add(1, 0, 1, Priority::kNormal);
  Add(2, 0, 1, Priority::kHigh);
  Add(3, 1, 1, Priority::kHigh);
  EXPECT_THAT(TakeAll(), ElementsAre(2, 3, 1, 0));
}

TEST_F(WaitingLineTest, ALowerPriorityIsPassedABoundedNumberOfTimes) {
  Add(100, 0, 1, Priority::kLow);
  Add(101, 0, 1, Priority::kLow);
  for (SequenceId id = 0; id < 8; ++id) Add(id, 0, 1, Priority::kHigh);
  EXPECT_THAT(TakeAll(), ElementsAre(0, 1, 2, 100, 3, 4, 5, 101, 6, 7));
}

TEST_F(WaitingLineTest, AllLowerPrioritiesGetTheirTurns) {
  for (SequenceId id = 0; id < 20; ++id) Add(id, 0, 1, Priority::kHigh);
  for (SequenceId id = 20; id < 24; ++id) Add(id, 0, 1, Priority::kNormal);
  for (SequenceId id = 40; id < 44; ++id) Add(id, 0, 1, Priority::kLow);
  const std::vector<SequenceId> order = TakeAll();
  std::map<SequenceId, size_t> place;
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  // Three of high, one of each other: five admissions bring one of each.
  for (SequenceId i = 0; i < 4; ++i) {
    EXPECT_LE(place[20 + i], 5 * (i + 1));
    EXPECT_LE(place[40 + i], 5 * (i + 1));
  }
}

TEST_F(WaitingLineTest, PassesAreCountedOnlyWhileSomebodyWaits) {
  for (SequenceId id = 0; id < 8; ++id) Add(id, 0, 1, Priority::kHigh);
  for (int i = 0; i < 4; ++i) Take();
  Add(100, 0, 1, Priority::kLow);
  Take();
  Remove(100);
  Add(101, 0, 1, Priority::kLow);
  EXPECT_THAT(TakeAll(), ElementsAre(5, 6, 7, 101));
}

}  // namespace
}  // namespace precis
