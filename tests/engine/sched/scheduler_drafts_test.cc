// Rows for drafted tokens, and pages that only rejected ones were written to.
#include <limits>
#include <optional>
#include <vector>

#include "engine/sched/scheduler.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

class SchedulerDrafts : public testing::Test {
 protected:
  SchedulerDrafts() : pool_(100), scheduler_(Options(), pool_) {}

  static SchedulerOptions Options() {
    SchedulerOptions options;
    options.max_sequences = 16;
    options.max_batch = 8;
    options.self_slots = 4;
    options.keep_documents = false;
    options.encode_shape = {.encoder_layers = 1, .decoder_layers = 1, .slice_rows = 64};
    return options;
  }

  // A sequence that decodes from the next step on.
  SequenceId Encoded(uint32_t max_new_tokens, uint32_t beams = 1) {
    const SequenceId id = scheduler_.Add({16, max_new_tokens, beams});
    Step({}, {});
    return id;
  }

  StepPlan Step(const std::vector<uint32_t>& drafts, const std::vector<uint32_t>& advanced) {
    const StepPlan plan = scheduler_.Schedule({kUnlimited, drafts});
    std::vector<SequenceOutcome> outcomes;
    for (const DecodeRow& row : plan.decodes) {
      if (row.beam > 0 || row.draft > 0) continue;
      const size_t i = outcomes.size();
      outcomes.push_back({row.sequence, false, kOnlyBeam, i < advanced.size() ? advanced[i] : 1});
    }
    scheduler_.Apply(outcomes);
    return plan;
  }

  PagePool pool_;
  Scheduler scheduler_;
};

TEST_F(SchedulerDrafts, RowsFollowTheTokenThatStandsPositionByPosition) {
  const SequenceId id = Encoded(20);
  Step({}, {});
  const StepPlan plan = Step({4}, {2});
  ASSERT_EQ(plan.decodes.size(), 5u);
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(plan.decodes[i].sequence, id);
    EXPECT_EQ(plan.decodes[i].draft, i);
    EXPECT_EQ(plan.decodes[i].position, 1 + i);
    EXPECT_EQ(plan.decodes[i].slot, (1 + i) % 4);
  }
  EXPECT_EQ(plan.decodes[2].page, plan.decodes[0].page);
  EXPECT_NE(plan.decodes[3].page, plan.decodes[0].page);
  EXPECT_EQ(Step({}, {}).decodes[0].position, 3u) << "two of five stood";
}

TEST_F(SchedulerDrafts, PagesOfRejectedDraftsGoBackToThePromise) {
  const SequenceId id = Encoded(20);
  Step({7}, {8});
  ASSERT_EQ(scheduler_.self_pages(id).size(), 2u);
  ASSERT_EQ(pool_.promised(), 3u);
  Step({7}, {1});
  EXPECT_EQ(scheduler_.self_pages(id).size(), 3u);
  EXPECT_EQ(pool_.leased(PageKind::kSelf), 3u);
  EXPECT_EQ(pool_.promised(), 2u);
}

TEST_F(SchedulerDrafts, NoDraftPassesTheEndOfTheSequence) {
  Encoded(3);
  EXPECT_EQ(Step({7}, {1}).decodes.size(), 3u);
  EXPECT_EQ(Step({7}, {1}).decodes.size(), 2u);
}

TEST_F(SchedulerDrafts, OnlyRowsThatNoBeamNeedsAreUsed) {
  Encoded(20, 4);
  Encoded(20);
  EXPECT_EQ(scheduler_.spare_rows(), 3u);
  // The first has one beam alive so far, and four rows that are its own.
  EXPECT_EQ(Step({7, 7}, {}).decodes.size(), 1u + 4u);
}

TEST_F(SchedulerDrafts, SequencesWithBeamsHaveNone) {
  Encoded(20, 2);
  EXPECT_EQ(Step({3}, {}).decodes.size(), 1u);
}

TEST_F(SchedulerDrafts, WhoeverWasAdmittedAfterTheGuessesHasNone) {
  Encoded(20);
  scheduler_.Add({16, 20, 1, scheduler_.document(0)});
  // The document is there, so the newcomer decodes at once; drafts has one entry.
  const StepPlan plan = Step({2}, {1, 1});
  ASSERT_EQ(plan.decodes.size(), 4u);
  EXPECT_EQ(plan.decodes[3].draft, 0u);
}

}  // namespace
}  // namespace precis
