// A binary of its own: it replaces operator new to count calls.
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"
#include "gtest/gtest.h"

namespace {
size_t g_allocations = 0;  // one thread only
}  // namespace

// Not inlined: GCC takes a visible free() of a new'd pointer for a mistake.
[[gnu::noinline]] void* operator new(size_t size) {
  ++g_allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace precis {
namespace {

SchedulerOptions Options() {
  return {.max_sequences = 64,
          .max_batch = 32,
          .self_slots = 4,
          .cross_slots = 16,
          .max_overtakes = 4,
          .encode_shape = {.encoder_layers = 2, .decoder_layers = 2, .slice_rows = 64},
          .encode_costs = {}};
}

TEST(SchedulerAllocation, TheCounterCounts) {
  const size_t before = g_allocations;
  ::operator delete(::operator new(8));  // called by name, so that no compiler leaves it out
  EXPECT_EQ(g_allocations - before, 1u);
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

  const size_t before = g_allocations;
  for (uint32_t position = 0; position < kMaxNew; ++position) {
    const StepPlan& plan = scheduler.Schedule({0});
    for (size_t i = 0; i < plan.decodes.size(); ++i) {
      outcomes[i] = {plan.decodes[i].sequence, position + 1 == kMaxNew, kOnlyBeam};
    }
    scheduler.Apply(outcomes);
  }
  EXPECT_EQ(g_allocations - before, 0u);
  EXPECT_EQ(scheduler.decoding(), 0u);
  EXPECT_EQ(pool.leased(), 0u);
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

  const size_t before = g_allocations;
  size_t copies = 0;
  for (uint32_t position = 0; position < kMaxNew; ++position) {
    copies += scheduler.Schedule({0}).copies.size();
    // All of one parent, of two, of four, each its own: in turns.
    const uint32_t choices = position == 0 ? 1 : 1u << position % 4;
    for (uint32_t i = 0; i < kBeams; ++i) parents[i] = i % choices;
    for (SequenceId id = 0; id < 4; ++id) outcomes[id] = {id, position + 1 == kMaxNew, parents};
    scheduler.Apply(outcomes);
  }
  EXPECT_EQ(g_allocations - before, 0u);
  EXPECT_GT(copies, 500u);
  EXPECT_EQ(pool.leased(), 0u);
}

TEST(SchedulerAllocation, AdmissionAllocatesPageTablesAndNothingElse) {
  PagePool pool(4000);
  Scheduler scheduler(Options(), pool);
  scheduler.Add({1000, 10});
  const size_t before = g_allocations;
  scheduler.Schedule({0});
  EXPECT_EQ(g_allocations - before, 2u);  // of its cross pages and of its self pages
  const size_t admitted = g_allocations;
  while (scheduler.encoding() > 0) {
    scheduler.Apply({});
    scheduler.Schedule({500});
  }
  EXPECT_EQ(g_allocations - admitted, 0u);
}

}  // namespace
}  // namespace precis
