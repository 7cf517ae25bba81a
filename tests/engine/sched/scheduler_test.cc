// What the scheduler promises, one fact a test, in the order of docs/scheduling.md. Longer than
// most files: one fixture and one class, and a reader looks for a fact in one place.
#include "engine/sched/scheduler.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();
// One encoder layer, one decoder layer, 64 rows a slice, one microsecond a row and stage: a
// document of n x 64 tokens has 3 n items of 64 us.
constexpr EncodeShape kShape = {.encoder_layers = 1, .decoder_layers = 1, .slice_rows = 64};
constexpr double kItemUs = 64;

class SchedulerTest : public testing::Test {
 protected:
  static SchedulerOptions Defaults() {
    return {.max_sequences = 16,
            .max_batch = 8,
            .self_slots = 4,
            .cross_slots = 16,
            .max_overtakes = 2,
            .keep_documents = false,
            .encode_shape = kShape};
  }

  void Start(const SchedulerOptions& options, uint32_t num_pages) {
    scheduler_.reset();
    pool_.emplace(num_pages);
    scheduler_.emplace(options, *pool_);
  }
  void SetUp() override { Start(Defaults(), 100); }

  // Each sequence reads a document of its own here.
  SequenceId Add(const SequenceSpec& spec) {
    scheduler_->ClearForgotten();
    const SequenceId id = scheduler_->Add(spec);
    reader_[scheduler_->document(id)] = id;
    return id;
  }

  // One step in which the sequences of `finished` finish.
  StepPlan Step(double encode_us, const std::vector<SequenceId>& finished = {}) {
    const StepPlan plan = scheduler_->Schedule({encode_us});
    std::vector<SequenceOutcome> outcomes;
    for (const DecodeRow& row : plan.decodes) {
      const bool finish =
          std::find(finished.begin(), finished.end(), row.sequence) != finished.end();
      outcomes.push_back({row.sequence, finish, kOnlyBeam});
    }
    scheduler_->Apply(outcomes);
    return plan;
  }

  std::vector<SequenceId> Encoded(const StepPlan& plan) const {
    std::vector<SequenceId> ids;
    for (const EncodeSlice& slice : plan.encodes) ids.push_back(reader_.at(slice.document));
    return ids;
  }
  static std::vector<SequenceId> Decoded(const StepPlan& plan) {
    std::vector<SequenceId> ids;
    for (const DecodeRow& row : plan.decodes) ids.push_back(row.sequence);
    return ids;
  }
  static uint32_t NumItems(const StepPlan& plan) {
    uint32_t count = 0;
    for (const EncodeSlice& slice : plan.encodes) count += slice.end_item - slice.begin_item;
    return count;
  }

  std::optional<PagePool> pool_;
  std::optional<Scheduler> scheduler_;
  std::map<DocumentId, SequenceId> reader_;
};

// --- Pages ---

TEST_F(SchedulerTest, WorstCaseIsCrossPagesAndSelfPagesRoundedUp) {
  EXPECT_EQ(scheduler_->WorstCasePages({1, 1}), 2u);
  EXPECT_EQ(scheduler_->WorstCasePages({16, 4}), 2u);
  EXPECT_EQ(scheduler_->WorstCasePages({17, 4}), 3u);
  EXPECT_EQ(scheduler_->WorstCasePages({16, 5}), 3u);
  EXPECT_EQ(scheduler_->WorstCasePages({160, 40}), 20u);
}

TEST_F(SchedulerTest, ReservesCrossPagesAtAdmission) {
  const SequenceId id = Add({100, 9});
  EXPECT_EQ(pool_->leased(), 0u) << "waiting costs no page";
  Step(0);
  EXPECT_EQ(pool_->leased(PageKind::kCross), 7u);
  EXPECT_EQ(scheduler_->cross_pages(id).size(), 7u);
}

TEST_F(SchedulerTest, PromisesSelfPagesInFullAtAdmission) {
  const SequenceId id = Add({16, 9});
  Step(0);
  EXPECT_EQ(pool_->promised(), 3u);
  EXPECT_EQ(pool_->leased(PageKind::kSelf), 0u);
  EXPECT_THAT(scheduler_->self_pages(id), IsEmpty());
}

TEST_F(SchedulerTest, TakesASelfPageFromThePromiseWhenAPositionNeedsIt) {
  const SequenceId id = Add({16, 9});
  Step(kUnlimited);
  for (uint32_t position = 0; position < 9; ++position) {
    const StepPlan plan =
        Step(0, position == 8 ? std::vector<SequenceId>{id} : std::vector<SequenceId>{});
    ASSERT_EQ(plan.decodes.size(), 1u);
    EXPECT_EQ(plan.decodes[0].position, position);
    EXPECT_EQ(plan.decodes[0].slot, position % 4);
    if (position == 8) break;
    ASSERT_EQ(scheduler_->self_pages(id).size(), position / 4 + 1);
    EXPECT_EQ(plan.decodes[0].page, scheduler_->self_pages(id)[position / 4]);
    EXPECT_EQ(pool_->promised(), 3 - (position / 4 + 1));
  }
  EXPECT_EQ(pool_->available(), 100u);
}

TEST_F(SchedulerTest, GivesPagesAndPromiseBackAtAnEarlyFinish) {
  const SequenceId id = Add({64, 40});
  Step(kUnlimited);
  Step(0);
  EXPECT_EQ(pool_->leased(), 5u);
  EXPECT_EQ(pool_->promised(), 9u);
  Step(0, {id});
  EXPECT_EQ(pool_->available(), 100u);
  EXPECT_TRUE(scheduler_->idle());
}

// --- The queue ---

TEST_F(SchedulerTest, AnIdleSchedulerPlansNothing) {
  EXPECT_TRUE(scheduler_->idle());
  EXPECT_TRUE(Step(kUnlimited).empty());
}

TEST_F(SchedulerTest, HasRoomForMaxSequencesInAnyState) {
  for (uint32_t i = 0; i < 16; ++i) {
    ASSERT_TRUE(scheduler_->HasRoom());
    Add({16, 1});
  }
  EXPECT_FALSE(scheduler_->HasRoom());
  Step(kUnlimited);
  EXPECT_FALSE(scheduler_->HasRoom());
  const StepPlan plan = scheduler_->Schedule({0});
  std::vector<SequenceOutcome> outcomes;
  for (const DecodeRow& row : plan.decodes) outcomes.push_back({row.sequence, true, {}});
  scheduler_->Apply(outcomes);
  EXPECT_TRUE(scheduler_->HasRoom());
}

TEST_F(SchedulerTest, ReusesIdsOnlyAfterTheSequenceHasLeft) {
  const SequenceId a = Add({16, 1});
  const SequenceId b = Add({16, 1});
  EXPECT_NE(a, b);
  scheduler_->Remove(a);
  EXPECT_NE(Add({16, 1}), b);
}

TEST_F(SchedulerTest, StartsDocumentsInTheOrderOfArrival) {
  const SequenceId a = Add({64, 5});
  const SequenceId b = Add({64, 5});
  const SequenceId c = Add({64, 5});
  EXPECT_THAT(Encoded(Step(3 * kItemUs)), ElementsAre(a));
  EXPECT_THAT(scheduler_->started(), ElementsAre(a, b)) << "b has the workspace now";
  EXPECT_THAT(Encoded(Step(3 * kItemUs)), ElementsAre(b));
  EXPECT_THAT(Encoded(Step(3 * kItemUs)), ElementsAre(c));
}

TEST_F(SchedulerTest, DoesNotPassAHeadThatLacksPages) {
  Start(Defaults(), 10);
  const SequenceId a = Add({64, 8});  // 6 pages
  Step(kUnlimited);
  const SequenceId large = Add({80, 8});  // 7 pages
  const SequenceId small = Add({16, 4});  // 2 pages, which are there
  const StepPlan blocked = Step(kUnlimited);
  EXPECT_THAT(blocked.encodes, IsEmpty());
  EXPECT_THAT(Decoded(blocked), ElementsAre(a));
  EXPECT_EQ(scheduler_->waiting(), 2u);
  Step(0, {a});
  // `small` fits beside it, is short, and so is encoded first.
  EXPECT_THAT(Encoded(Step(kUnlimited)), testing::UnorderedElementsAre(large, small));
}

TEST_F(SchedulerTest, AdmitsADocumentThatNeedsTheWholePool) {
  Start(Defaults(), 10);
  Add({128, 8});
  EXPECT_EQ(Step(kUnlimited).encodes.size(), 1u);
  EXPECT_EQ(pool_->available(), 0u);
}

TEST_F(SchedulerTest, CountsEncodingSequencesIntoTheBatch) {
  SchedulerOptions options = Defaults();
  options.max_batch = 2;
  Start(options, 100);
  const SequenceId a = Add({64, 5});
  const SequenceId b = Add({128, 5});
  Add({16, 5});  // short enough to overtake b, but there is no row
  EXPECT_THAT(Encoded(Step(3 * kItemUs)), ElementsAre(a));
  EXPECT_THAT(Encoded(Step(kItemUs)), ElementsAre(b));
  EXPECT_EQ(scheduler_->waiting(), 1u);
  EXPECT_EQ(scheduler_->encoding() + scheduler_->decoding(), 2u);
}

// --- Encoding under a budget ---

TEST_F(SchedulerTest, PlansItemsInListOrderAndMarksTheLast) {
  Add({128, 5});
  EncodeSlice slice = Step(4 * kItemUs).encodes.at(0);
  EXPECT_EQ(slice.begin_item, 0u);
  EXPECT_EQ(slice.end_item, 4u);
  EXPECT_FALSE(slice.last);
  slice = Step(4 * kItemUs).encodes.at(0);
  EXPECT_EQ(slice.begin_item, 4u);
  EXPECT_EQ(slice.end_item, 6u);
  EXPECT_TRUE(slice.last);
}

TEST_F(SchedulerTest, KeepsTheBudget) {
  Add({640, 5});
  EXPECT_EQ(NumItems(Step(kItemUs * 2.9)), 2u);
  EXPECT_EQ(NumItems(Step(kItemUs * 3)), 3u);
}

TEST_F(SchedulerTest, PlansOneItemAtAnyBudget) {
  Add({128, 5});
  EXPECT_EQ(NumItems(Step(0)), 1u);
  EXPECT_EQ(NumItems(Step(-5)), 1u);
  EXPECT_EQ(NumItems(Step(std::numeric_limits<double>::quiet_NaN())), 1u);
}

TEST_F(SchedulerTest, EncodesSeveralDocumentsInOneStepWhenTheBudgetAllows) {
  std::vector<SequenceId> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Add({64, 5}));
  const StepPlan plan = Step(kUnlimited);
  EXPECT_EQ(Encoded(plan), ids);
  for (const EncodeSlice& slice : plan.encodes) EXPECT_TRUE(slice.last);
  EXPECT_EQ(std::vector(scheduler_->started().begin(), scheduler_->started().end()), ids);
  EXPECT_EQ(Decoded(Step(0)), ids);
}

TEST_F(SchedulerTest, SpendsWhatADocumentLeavesOfTheBudgetOnTheNext) {
  const SequenceId a = Add({64, 5});
  const SequenceId b = Add({64, 5});
  const StepPlan plan = Step(4 * kItemUs);
  ASSERT_THAT(Encoded(plan), ElementsAre(a, b));
  EXPECT_TRUE(plan.encodes[0].last);
  EXPECT_EQ(plan.encodes[1].end_item, 1u);
}

TEST_F(SchedulerTest, ListsASequenceAsStartedOnce) {
  const SequenceId id = Add({128, 5});
  Step(0);
  EXPECT_THAT(scheduler_->started(), ElementsAre(id));
  Step(0);
  EXPECT_THAT(scheduler_->started(), IsEmpty());
}

// --- Overtaking ---

TEST_F(SchedulerTest, AShortDocumentOvertakesTheOldest) {
  const SequenceId oldest = Add({640, 5});
  const StepPlan first = Step(0);
  EXPECT_THAT(Encoded(first), ElementsAre(oldest));
  const SequenceId short_one = Add({64, 5});
  const StepPlan second = Step(0);
  EXPECT_THAT(Encoded(second), ElementsAre(short_one));
  EXPECT_NE(first.encodes[0].workspace, second.encodes[0].workspace);
}

TEST_F(SchedulerTest, OvertakingIsBounded) {
  Start(Defaults(), 1000);
  const SequenceId oldest = Add({640, 5});
  for (int i = 0; i < 5; ++i) Add({16, 100});
  std::vector<SequenceId> encoded;
  while (encoded.empty() || encoded.back() != oldest) {
    const StepPlan plan = Step(0);
    for (const EncodeSlice& slice : plan.encodes) {
      if (slice.last) encoded.push_back(reader_.at(slice.document));
    }
  }
  EXPECT_THAT(encoded, ElementsAre(oldest + 1, oldest + 2, oldest));
}

TEST_F(SchedulerTest, NobodyOvertakesWhenThatIsOff) {
  SchedulerOptions options = Defaults();
  options.max_overtakes = 0;
  Start(options, 100);
  const SequenceId oldest = Add({640, 5});
  const SequenceId short_one = Add({64, 5});
  EXPECT_THAT(Encoded(Step(kUnlimited)), ElementsAre(oldest, short_one));
}

TEST_F(SchedulerTest, ADocumentThatIsNotShorterTakesNoPagesBeforeItsTurn) {
  Add({64, 5});
  const SequenceId other = Add({64, 5});
  Step(0);
  EXPECT_EQ(scheduler_->encoding(), 1u);
  EXPECT_THAT(scheduler_->cross_pages(other), IsEmpty());
}

// --- Decoding ---

TEST_F(SchedulerTest, DecodesFromTheStepAfterTheLastSlice) {
  const SequenceId id = Add({64, 5});
  const StepPlan encoded = Step(kUnlimited);
  EXPECT_TRUE(encoded.encodes.at(0).last);
  EXPECT_THAT(encoded.decodes, IsEmpty());
  const StepPlan decoded = Step(0);
  ASSERT_THAT(Decoded(decoded), ElementsAre(id));
  EXPECT_EQ(decoded.decodes[0].position, 0u);
}

TEST_F(SchedulerTest, DecodesEveryStepWhateverIsEncoded) {
  const SequenceId a = Add({16, 8});
  Step(kUnlimited);
  Add({640, 8});
  for (uint32_t position = 0; position < 7; ++position) {
    const StepPlan plan = Step(0);
    ASSERT_THAT(Decoded(plan), ElementsAre(a));
    EXPECT_EQ(plan.decodes[0].position, position);
    EXPECT_EQ(NumItems(plan), 1u);
  }
}

TEST_F(SchedulerTest, KeepsTheOrderOfRowsWhenOneLeaves) {
  const SequenceId a = Add({16, 8});
  const SequenceId b = Add({16, 8});
  const SequenceId c = Add({16, 8});
  Step(kUnlimited);
  EXPECT_THAT(Decoded(Step(0, {b})), ElementsAre(a, b, c));
  const SequenceId d = Add({16, 8});
  EXPECT_THAT(Decoded(Step(kUnlimited)), ElementsAre(a, c));
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(a, c, d));
}

TEST_F(SchedulerTest, AFinishInTheStepThatEncodesAnotherKeepsTheOther) {
  const SequenceId a = Add({16, 8});
  Step(kUnlimited);
  const SequenceId b = Add({16, 8});
  Step(kUnlimited, {a});
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(b));
}

// --- Removal ---

TEST_F(SchedulerTest, RemovingAWaitingSequenceLetsTheNextOneThrough) {
  Start(Defaults(), 10);
  Add({64, 8});
  Step(kUnlimited);
  const SequenceId large = Add({80, 8});
  const SequenceId small = Add({16, 4});
  scheduler_->Remove(large);
  EXPECT_THAT(Encoded(Step(kUnlimited)), ElementsAre(small));
}

TEST_F(SchedulerTest, RemovingAnEncodingSequenceFreesPagesAndWorkspace) {
  const SequenceId a = Add({640, 5});
  Step(0);
  scheduler_->Remove(a);
  EXPECT_EQ(pool_->available(), 100u);
  EXPECT_TRUE(scheduler_->idle());
  const SequenceId b = Add({64, 5});
  EXPECT_THAT(Encoded(Step(0)), ElementsAre(b));
}

TEST_F(SchedulerTest, RemovingTheOldestMakesTheOvertakerTheOldest) {
  const SequenceId oldest = Add({640, 5});
  Step(0);
  const SequenceId second = Add({128, 5});
  const uint32_t workspace = Step(0).encodes.at(0).workspace;
  scheduler_->Remove(oldest);
  const SequenceId third = Add({16, 5});
  const StepPlan plan = Step(kUnlimited);
  ASSERT_THAT(Encoded(plan), ElementsAre(third, second));
  EXPECT_NE(plan.encodes[0].workspace, workspace);
  EXPECT_EQ(plan.encodes[1].workspace, workspace) << "a document stays where its rows are";
  EXPECT_EQ(plan.encodes[1].begin_item, 1u);
}

TEST_F(SchedulerTest, RemovingADecodingSequenceGivesItsPagesBack) {
  const SequenceId a = Add({64, 40});
  const SequenceId b = Add({64, 40});
  Step(kUnlimited);
  Step(0);
  scheduler_->Remove(a);
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(b));
  scheduler_->Remove(b);
  EXPECT_EQ(pool_->available(), 100u);
}

TEST_F(SchedulerTest, GivesEverythingBackWhenItIsDestroyed) {
  Add({16, 40});
  Add({640, 40});
  Step(kItemUs * 8);
  Step(0);
  EXPECT_GT(pool_->leased(), 0u);
  scheduler_.reset();
  EXPECT_EQ(pool_->available(), 100u);
}

// --- What cannot happen ---

using SchedulerDeathTest = SchedulerTest;

TEST_F(SchedulerDeathTest, RefusesASequenceThatThePoolCannotHold) {
  EXPECT_DEATH(scheduler_->Add({1600, 4}), "check failed");
  EXPECT_DEATH(scheduler_->Add({0, 4}), "check failed");
  EXPECT_DEATH(scheduler_->Add({4, 0}), "check failed");
}

TEST_F(SchedulerDeathTest, RefusesToGoOnPastMaxNewTokens) {
  scheduler_->Add({16, 1});
  Step(kUnlimited);
  EXPECT_DEATH(Step(0), "check failed");
}

TEST_F(SchedulerDeathTest, RefusesOutcomesOfOtherRows) {
  const SequenceId id = scheduler_->Add({16, 5});
  Step(kUnlimited);
  scheduler_->Schedule({0});
  const SequenceOutcome wrong[] = {{id + 1, false, kOnlyBeam}};
  EXPECT_DEATH(scheduler_->Apply({}), "check failed");
  EXPECT_DEATH(scheduler_->Apply(wrong), "check failed");
  EXPECT_DEATH(scheduler_->Remove(id), "check failed") << "not between Schedule and Apply";
  EXPECT_DEATH(scheduler_->Schedule({0}), "check failed");
}

TEST_F(SchedulerDeathTest, RefusesToRemoveWhatHasLeft) {
  const SequenceId id = scheduler_->Add({16, 5});
  scheduler_->Remove(id);
  EXPECT_DEATH(scheduler_->Remove(id), "check failed");
}

}  // namespace
}  // namespace precis
