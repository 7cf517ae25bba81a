// What the scheduler promises to sequences with beams, one fact a test. Sharing itself is tested in
// self_pages_test.cc.
#include <limits>
#include <map>
#include <vector>

#include "engine/sched/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

class SchedulerBeamsTest : public testing::Test {
 protected:
  using Parents = std::map<SequenceId, std::vector<uint32_t>>;

  static SchedulerOptions Options() {
    return {.max_sequences = 16,
            .max_batch = 8,
            .self_slots = 4,
            .cross_slots = 16,
            .max_overtakes = 2,
            .keep_documents = false,
            .encode_shape = {.encoder_layers = 1, .decoder_layers = 1, .slice_rows = 64}};
  }

  // One step; sequences that `parents` does not name finish, if they decode.
  StepPlan Step(double encode_us, const Parents& parents) {
    const StepPlan plan = scheduler_.Schedule({encode_us});
    std::vector<SequenceOutcome> outcomes;
    for (const DecodeRow& row : plan.decodes) {
      if (row.beam > 0) continue;
      const auto at = parents.find(row.sequence);
      if (at == parents.end()) {
        outcomes.push_back({row.sequence, true, {}});
      } else {
        outcomes.push_back({row.sequence, false, at->second});
      }
    }
    scheduler_.Apply(outcomes);
    return plan;
  }

  static std::vector<std::pair<SequenceId, uint32_t>> Rows(const StepPlan& plan) {
    std::vector<std::pair<SequenceId, uint32_t>> rows;
    for (const DecodeRow& row : plan.decodes) rows.emplace_back(row.sequence, row.beam);
    return rows;
  }

  PagePool pool_{100};
  Scheduler scheduler_{Options(), pool_};
};

TEST_F(SchedulerBeamsTest, WorstCaseIsFullTablesAndAPageABeam) {
  EXPECT_EQ(scheduler_.WorstCasePages({32, 9, 1}), 2u + 3u);
  EXPECT_EQ(scheduler_.WorstCasePages({32, 9, 2}), 2u + 6u + 2u);
  EXPECT_EQ(scheduler_.WorstCasePages({32, 9, 8}), 2u + 24u + 8u);
}

TEST_F(SchedulerBeamsTest, PromisesTheWorstCaseAtAdmission) {
  scheduler_.Add({16, 9, 4});
  Step(0, {});
  EXPECT_EQ(pool_.leased(), 1u);
  EXPECT_EQ(pool_.promised(), 16u);
}

TEST_F(SchedulerBeamsTest, DecodesOneRowFirstAndThenARowABeam) {
  const SequenceId id = scheduler_.Add({16, 9, 3});
  EXPECT_EQ(scheduler_.live_beams(id), 0u);
  Step(kUnlimited, {});
  EXPECT_EQ(scheduler_.live_beams(id), 1u);
  const StepPlan first = Step(0, {{id, {0, 0, 0}}});
  EXPECT_THAT(Rows(first), ElementsAre(std::pair(id, 0u)));
  EXPECT_EQ(scheduler_.live_beams(id), 3u);
  const StepPlan second = Step(0, {{id, {2, 0}}});
  EXPECT_THAT(Rows(second), ElementsAre(std::pair(id, 0u), std::pair(id, 1u), std::pair(id, 2u)));
  for (const DecodeRow& row : second.decodes) {
    EXPECT_EQ(row.position, 1u);
    EXPECT_EQ(row.slot, 1u);
  }
  const StepPlan third = Step(0, {});
  EXPECT_THAT(Rows(third), ElementsAre(std::pair(id, 0u), std::pair(id, 1u)));
}

TEST_F(SchedulerBeamsTest, PlansCopiesOfFilledSlotsBeforeBeamsWrite) {
  const SequenceId id = scheduler_.Add({16, 9, 3});
  Step(kUnlimited, {});
  Step(0, {{id, {0}}});
  const StepPlan alone = Step(0, {{id, {0, 0, 0}}});
  EXPECT_THAT(alone.copies, IsEmpty());
  const PageId original = alone.decodes[0].page;
  const StepPlan plan = Step(0, {{id, {0, 1, 2}}});
  ASSERT_EQ(plan.copies.size(), 2u);
  ASSERT_EQ(plan.decodes.size(), 3u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(plan.copies[i].from, original);
    EXPECT_EQ(plan.copies[i].to, plan.decodes[i].page);
    EXPECT_EQ(plan.copies[i].slots, 2u);
  }
  EXPECT_EQ(plan.decodes[2].page, original);
  EXPECT_THAT(Step(0, {}).copies, IsEmpty());
}

TEST_F(SchedulerBeamsTest, BeamsSitBesideGreedyNeighbours) {
  const SequenceId a = scheduler_.Add({16, 9, 1});
  const SequenceId b = scheduler_.Add({16, 9, 2});
  const SequenceId c = scheduler_.Add({16, 9, 1});
  Step(kUnlimited, {});
  Step(0, {{a, {0}}, {b, {0, 0}}, {c, {0}}});
  const StepPlan plan = Step(0, {{a, {0}}, {c, {0}}});
  EXPECT_THAT(Rows(plan),
              ElementsAre(std::pair(a, 0u), std::pair(b, 0u), std::pair(b, 1u), std::pair(c, 0u)));
  EXPECT_THAT(Rows(Step(0, {})), ElementsAre(std::pair(a, 0u), std::pair(c, 0u)));
  EXPECT_EQ(pool_.available(), 100u);
}

TEST_F(SchedulerBeamsTest, TakesARowABeamFromAdmissionOn) {
  const SequenceId a = scheduler_.Add({16, 9, 5});
  const SequenceId b = scheduler_.Add({16, 9, 4});
  const SequenceId c = scheduler_.Add({16, 9, 3});
  Step(kUnlimited, {});
  EXPECT_EQ(scheduler_.decoding(), 1u);
  EXPECT_EQ(scheduler_.waiting(), 2u) << "c would fit, but does not pass b";
  Step(kUnlimited, {{a, {0, 0, 0}}});
  EXPECT_EQ(scheduler_.waiting(), 2u) << "beams that are not live keep their rows";
  Step(kUnlimited, {});
  EXPECT_THAT(Rows(Step(kUnlimited, {})), IsEmpty());
  EXPECT_THAT(Rows(Step(0, {})), ElementsAre(std::pair(b, 0u), std::pair(c, 0u)));
}

TEST_F(SchedulerBeamsTest, GivesRowsBackFromAnyState) {
  const SequenceId waiting = scheduler_.Add({16, 9, 8});
  scheduler_.Remove(waiting);
  const SequenceId encoding = scheduler_.Add({640, 9, 8});
  Step(0, {});
  ASSERT_EQ(scheduler_.encoding(), 1u);
  scheduler_.Remove(encoding);
  const SequenceId decoding = scheduler_.Add({16, 9, 8});
  Step(kUnlimited, {});
  Step(0, {{decoding, {0, 0, 0, 0, 0, 0, 0, 0}}});
  Step(0, {{decoding, {0, 0, 1, 1, 2, 2, 3, 3}}});
  scheduler_.Remove(decoding);
  EXPECT_EQ(pool_.available(), 100u);
  const SequenceId next = scheduler_.Add({16, 9, 8});
  Step(kUnlimited, {});
  EXPECT_THAT(Rows(Step(0, {})), ElementsAre(std::pair(next, 0u)));
}

TEST_F(SchedulerBeamsTest, ThePeakCountsSharedPagesOnce) {
  const SequenceId id = scheduler_.Add({16, 12, 8});
  Step(kUnlimited, {});
  const std::vector<uint32_t> all_of_first(8, 0);
  for (int i = 0; i < 4; ++i) Step(0, {{id, all_of_first}});
  // One cross page, and eight self pages of which each step leaves one.
  EXPECT_EQ(pool_.peak_leased(), 9u);
  EXPECT_EQ(pool_.leased(), 2u);
}

TEST_F(SchedulerBeamsTest, NoMoreBeamsThanRowsOrSixteen) {
  EXPECT_EQ(scheduler_.max_beams(), 8u);
  SchedulerOptions wide = Options();
  wide.max_batch = 64;
  EXPECT_EQ(Scheduler(wide, pool_).max_beams(), 16u);
}

using SchedulerBeamsDeathTest = SchedulerBeamsTest;

TEST_F(SchedulerBeamsDeathTest, RefusesMoreBeamsThanItHasRowsFor) {
  EXPECT_DEATH(scheduler_.Add({16, 9, 9}), "check failed");
  EXPECT_DEATH(scheduler_.Add({16, 9, 0}), "check failed");
}

TEST_F(SchedulerBeamsDeathTest, RefusesOutcomesWithoutParents) {
  const SequenceId id = scheduler_.Add({16, 9, 2});
  Step(kUnlimited, {});
  EXPECT_DEATH(Step(0, {{id, {}}}), "check failed");
  EXPECT_DEATH(Step(0, {{id, {0, 1}}}), "check failed");
}

}  // namespace
}  // namespace precis
