// A binary of its own: it replaces operator new to count calls.
#include <limits>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"
#include "gtest/gtest.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

SchedulerOptions Options() {
  return {.max_sequences = 64,
          .max_batch = 32,
          .self_slots = 4,
          .cross_slots = 16,
          .max_overtakes = 4,
          .encode_shape = {.encoder_layers = 2, .decoder_layers = 2, .slice_rows = 64}};
}

TEST(SchedulerAllocation, DecodingAllocatesNothingFromFirstTokenToLast) {
  PagePool pool(4000);
  Scheduler scheduler(Options(), pool);
  constexpr uint32_t kMaxNew = 100;
  // Half of them wait for a row all the time.
  for (int i = 0; i < 64; ++i) scheduler.Add({100, kMaxNew});
  scheduler.Schedule({std::numeric_limits<double>::infinity()});
  scheduler.Apply({});
  ASSERT_EQ(scheduler.decoding(), 32u);
  std::vector<SequenceOutcome> outcomes(32);

  EXPECT_EQ(CountAllocations([&] {
              for (uint32_t position = 0; position < kMaxNew; ++position) {
                const StepPlan& plan = scheduler.Schedule({0});
                for (size_t i = 0; i < plan.decodes.size(); ++i) {
                  outcomes[i] = {plan.decodes[i].sequence, position + 1 == kMaxNew, kOnlyBeam};
                }
                scheduler.Apply(outcomes);
              }
            }),
            0u);
  EXPECT_EQ(scheduler.decoding(), 0u);
  EXPECT_EQ(pool.leased(), scheduler.kept_pages());
}

TEST(SchedulerAllocation, BeamsAllocateNothingHoweverTheyShareAndCopy) {
  PagePool pool(4000);
  Scheduler scheduler(Options(), pool);
  constexpr uint32_t kMaxNew = 100;
  constexpr uint32_t kBeams = 8;
  for (int i = 0; i < 4; ++i) scheduler.Add({100, kMaxNew, kBeams});
  scheduler.Schedule({std::numeric_limits<double>::infinity()});
  scheduler.Apply({});
  ASSERT_EQ(scheduler.decoding(), 4u);
  uint32_t parents[kBeams];
  SequenceOutcome outcomes[4];

  size_t copies = 0;
  const auto decode = [&](uint32_t position) {
    copies += scheduler.Schedule({0}).copies.size();
    // All of one parent, of two, of four, each its own: in turns.
    const uint32_t choices = position == 0 ? 1 : 1u << position % 4;
    for (uint32_t i = 0; i < kBeams; ++i) parents[i] = i % choices;
    for (SequenceId id = 0; id < 4; ++id) outcomes[id] = {id, position + 1 == kMaxNew, parents};
    scheduler.Apply(outcomes);
  };
  EXPECT_EQ(CountAllocations([&] {
              for (uint32_t position = 0; position < kMaxNew; ++position) decode(position);
            }),
            0u);
  EXPECT_GT(copies, 500u);
  EXPECT_EQ(pool.leased(), scheduler.kept_pages());
}

TEST(SchedulerAllocation, AdmissionAllocatesPageTablesAndNothingElse) {
  PagePool pool(4000);
  Scheduler scheduler(Options(), pool);
  scheduler.Add({1000, 10});
  // Of its cross pages and of its self pages.
  EXPECT_EQ(CountAllocations([&] { scheduler.Schedule({0}); }), 2u);
  EXPECT_EQ(CountAllocations([&] {
              while (scheduler.encoding() > 0) {
                scheduler.Apply({});
                scheduler.Schedule({500});
              }
            }),
            0u);
}

}  // namespace
}  // namespace precis
