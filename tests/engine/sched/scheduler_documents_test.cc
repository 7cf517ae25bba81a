// Sequences that read the same document: encoded once, kept, given up; and documents that fail.
#include <limits>
#include <optional>
#include <vector>

#include "engine/sched/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

class SchedulerDocuments : public testing::Test {
 protected:
  void Start(uint32_t num_pages) {
    scheduler_.reset();
    pool_.emplace(num_pages);
    SchedulerOptions options;
    options.max_sequences = 16;
    options.max_batch = 4;
    options.self_slots = 4;
    options.encode_shape = {.encoder_layers = 1, .decoder_layers = 1, .slice_rows = 64};
    scheduler_.emplace(options, *pool_);
  }
  void SetUp() override { Start(100); }

  SequenceId Add(uint32_t source_tokens, std::optional<DocumentId> document = {}) {
    return scheduler_->Add({source_tokens, 4, 1, document});
  }
  SequenceId AddSame(SequenceId other) {
    return Add(scheduler_->document_tokens(scheduler_->document(other)),
               scheduler_->document(other));
  }

  StepPlan Step(double encode_us, bool finish_all = false) {
    const StepPlan plan = scheduler_->Schedule({encode_us});
    std::vector<SequenceOutcome> outcomes;
    for (const DecodeRow& row : plan.decodes) outcomes.push_back({row.sequence, finish_all});
    scheduler_->Apply(outcomes);
    return plan;
  }
  static std::vector<SequenceId> Decoded(const StepPlan& plan) {
    std::vector<SequenceId> ids;
    for (const DecodeRow& row : plan.decodes) ids.push_back(row.sequence);
    return ids;
  }

  std::optional<PagePool> pool_;
  std::optional<Scheduler> scheduler_;
};

TEST_F(SchedulerDocuments, IdenticalOnesAreEncodedOnceAndShareTheirPages) {
  const SequenceId a = Add(128);
  const SequenceId b = AddSame(a);
  const StepPlan plan = Step(kUnlimited);
  EXPECT_EQ(plan.encodes.size(), 1u);
  EXPECT_EQ(pool_->leased(PageKind::kCross), 8u);
  EXPECT_EQ(scheduler_->cross_pages(a).data(), scheduler_->cross_pages(b).data());
  EXPECT_EQ(scheduler_->document_use(a), DocumentUse::kEncoded);
  EXPECT_EQ(scheduler_->document_use(b), DocumentUse::kJoined);
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(a, b));
}

TEST_F(SchedulerDocuments, OneThatIsThereDecodesInTheStepOfItsAdmission) {
  const SequenceId a = Add(128);
  Step(kUnlimited);
  const SequenceId b = AddSame(a);
  const StepPlan plan = Step(kUnlimited);
  EXPECT_THAT(plan.encodes, IsEmpty());
  EXPECT_THAT(Decoded(plan), ElementsAre(a, b));
  EXPECT_EQ(scheduler_->document_use(b), DocumentUse::kReady);
}

TEST_F(SchedulerDocuments, OneThatNobodyReadsIsKeptForTheNext) {
  const SequenceId a = Add(128);
  const DocumentId document = scheduler_->document(a);
  Step(kUnlimited);
  Step(0, true);
  EXPECT_TRUE(scheduler_->idle());
  EXPECT_EQ(scheduler_->kept_pages(), 8u);
  const SequenceId b = Add(128, document);
  EXPECT_THAT(Decoded(Step(0, true)), ElementsAre(b));
  scheduler_->FlushDocuments();
  EXPECT_EQ(pool_->available(), 100u);
}

TEST_F(SchedulerDocuments, KeptOnesMakeRoomForWhoIsAdmitted) {
  Start(10);
  const SequenceId a = Add(128);  // 8 pages and 1
  const DocumentId document = scheduler_->document(a);
  Step(kUnlimited);
  Step(0, true);
  Add(64);  // 4 pages and 1
  Step(kUnlimited);
  EXPECT_THAT(scheduler_->forgotten(), ElementsAre(document));
  EXPECT_EQ(scheduler_->kept_pages(), 0u);
}

TEST_F(SchedulerDocuments, TheHeadsOwnDocumentIsNotGivenUpForIt) {
  Start(10);
  const SequenceId a = Add(128);
  const DocumentId document = scheduler_->document(a);
  Step(kUnlimited);
  Step(0, true);
  const SequenceId large = scheduler_->Add({128, 8, 1, document});  // 8 pages and 2
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(large));
  EXPECT_EQ(pool_->available(), 0u);
}

TEST_F(SchedulerDocuments, AnEncodeOutlivesTheFirstRequester) {
  const SequenceId a = Add(640);
  const SequenceId b = AddSame(a);
  Step(0);
  scheduler_->Remove(a);
  StepPlan plan = Step(kUnlimited);
  ASSERT_EQ(plan.encodes.size(), 1u);
  EXPECT_EQ(plan.encodes[0].begin_item, 1u) << "it goes on where it was";
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(b));
}

TEST_F(SchedulerDocuments, AnEncodeOutlivesAllAdmittedWhileOneWaits) {
  const SequenceId a = Add(640);
  Step(0);
  for (int i = 0; i < 3; ++i) AddSame(a);
  Step(0);  // the batch of four is full
  const SequenceId waits = AddSame(a);
  Step(0);
  ASSERT_EQ(scheduler_->waiting(), 1u);
  for (SequenceId id = 0; id < 4; ++id) scheduler_->Remove(id);
  const StepPlan plan = Step(kUnlimited);
  EXPECT_EQ(plan.encodes.at(0).begin_item, 3u);
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(waits));
}

TEST_F(SchedulerDocuments, AnEncodeThatNobodyUsesEnds) {
  const SequenceId a = Add(640);
  const SequenceId b = AddSame(a);
  const DocumentId document = scheduler_->document(a);
  Step(0);
  scheduler_->Remove(a);
  scheduler_->Remove(b);
  EXPECT_EQ(pool_->available(), 100u);
  EXPECT_THAT(scheduler_->forgotten(), ElementsAre(document));
  EXPECT_TRUE(Step(kUnlimited).empty());
}

TEST_F(SchedulerDocuments, AFailedEncodeEndsThoseAdmittedAndIsDoneAgainForOthers) {
  const SequenceId a = Add(128);
  for (int i = 0; i < 3; ++i) AddSame(a);
  const SequenceId waits = AddSame(a);
  const StepPlan failed = Step(kUnlimited);
  ASSERT_TRUE(failed.encodes.at(0).last);
  EXPECT_THAT(scheduler_->FailDocument(failed.encodes[0].document), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(pool_->available(), 100u);
  EXPECT_THAT(scheduler_->forgotten(), IsEmpty());
  EXPECT_EQ(Step(kUnlimited).encodes.at(0).begin_item, 0u);
  EXPECT_THAT(Decoded(Step(0)), ElementsAre(waits));
}

TEST_F(SchedulerDocuments, AFailedEncodeIsNotKept) {
  Add(128);
  const StepPlan failed = Step(kUnlimited);
  scheduler_->FailDocument(failed.encodes.at(0).document);
  EXPECT_TRUE(scheduler_->idle());
  EXPECT_EQ(pool_->available(), 100u);
  EXPECT_THAT(scheduler_->forgotten(), ElementsAre(failed.encodes[0].document));
}

}  // namespace
}  // namespace precis
