// Long runs of random arrivals, widths, cancellations, budgets, parents, drafts, shared documents,
// priorities, tenants, failures and early finishes in worlds of different shortages, with every
// rule compared after every act. The seed is fixed; PRECIS_TEST_SEED sets another one.
#include <cstdlib>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/checked_scheduler.h"

namespace precis {
namespace {

struct Load {
  friend void PrintTo(const Load& load, std::ostream* os) { *os << load.name; }

  const char* name;
  uint32_t num_arrivals;
  uint32_t num_pages;
  uint32_t max_batch;
  uint32_t max_overtakes;
  uint32_t max_source_tokens;
  uint32_t max_new_tokens;
  uint32_t max_beams;
  double arrivals_per_step;
  bool keep_documents = true;
};

uint64_t Seed() {
  const char* text = std::getenv("PRECIS_TEST_SEED");
  return text == nullptr ? 20240607 : std::strtoull(text, nullptr, 10);
}

SchedulerOptions OptionsOf(const Load& load) {
  return {.max_sequences = 96,
          .max_batch = load.max_batch,
          .self_slots = 16,
          .cross_slots = 24,
          .max_overtakes = load.max_overtakes,
          .max_passes = 4,
          .keep_documents = load.keep_documents,
          .encode_shape = {.encoder_layers = 2, .decoder_layers = 2, .slice_rows = 64},
          // Dyadic, so that sums are exact in any order.
          .encode_costs = {.qkv_us_per_row = 1,
                           .attention_us_per_row = 2,
                           .attention_us_per_row_key = 1.0 / 64,
                           .cross_us_per_row = 0.5}};
}

class RandomRun {
 public:
  explicit RandomRun(const Load& load)
      : load_(load), rng_(Seed()), scheduler_(OptionsOf(load), load.num_pages) {}

  void Run() {
    while (!scheduler_.broken() &&
           (added_ < load_.num_arrivals || !scheduler_.scheduler().idle())) {
      Arrive();
      if (Chance(0.05)) CancelOne();
      Step();
    }
    EXPECT_EQ(scheduler_.pool().leased(), scheduler_.scheduler().kept_pages());
    scheduler_.Flush();
  }

  const CheckedScheduler& scheduler() const { return scheduler_; }
  uint32_t added() const { return added_; }
  uint64_t steps() const { return steps_; }
  double mean_batch() const { return static_cast<double>(rows_) / static_cast<double>(steps_); }

 private:
  bool Chance(double p) { return std::bernoulli_distribution(p)(rng_); }
  uint32_t Below(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(rng_); }

  // Mostly small, now and then as large as allowed.
  uint32_t Size(uint32_t max) { return 1 + (Chance(0.05) ? Below(max) : Below((max + 7) / 8)); }

  void Arrive() {
    // In bursts, with pauses in which the scheduler runs dry.
    if (Chance(0.002)) pause_steps_ = 200;
    if (pause_steps_ > 0 && --pause_steps_ > 0) return;
    uint32_t count = std::poisson_distribution<uint32_t>(load_.arrivals_per_step)(rng_);
    for (; count > 0 && added_ < load_.num_arrivals; --count) {
      const uint32_t beams = Chance(0.5) ? 1 : 1 + Below(load_.max_beams);
      SequenceSpec spec = {Size(load_.max_source_tokens), Size(load_.max_new_tokens), beams};
      if (Chance(0.3)) spec.source_tokens = 16 * (1 + Below(4));  // what others read as well
      spec.document = Chance(0.8) ? scheduler_.FindDocument(spec.source_tokens) : std::nullopt;
      spec.tenant = Below(3);
      spec.priority = static_cast<Priority>(Below(kNumPriorities));
      if (!scheduler_.scheduler().HasRoom()) return;
      if (scheduler_.scheduler().WorstCasePages(spec) > load_.num_pages) continue;
      scheduler_.Add(spec);
      ++added_;
    }
  }

  void CancelOne() {
    const std::vector<SequenceId>* phases[] = {&scheduler_.waiting(), &scheduler_.encoding(),
                                               &scheduler_.decoding()};
    const std::vector<SequenceId>& ids = *phases[Below(3)];
    if (!ids.empty()) scheduler_.Remove(ids[Below(static_cast<uint32_t>(ids.size()))]);
  }

  // Mostly as many as allowed; of few parents or many, or each its own.
  std::vector<uint32_t> Parents(SequenceId id) {
    const uint32_t live = scheduler_.live_beams(id);
    const uint32_t beams = scheduler_.spec(id).beams;
    if (beams == 1 || (live == beams && Chance(0.2))) return {};
    std::vector<uint32_t> parents(Chance(0.9) ? beams : 1 + Below(beams));
    const uint32_t choices = 1 + Below(live);
    for (uint32_t& parent : parents) parent = Below(choices);
    return parents;
  }

  void Step() {
    std::vector<CheckedScheduler::Next> next;
    for (const SequenceId id : scheduler_.decoding()) {
      next.push_back({.finished = Chance(0.02), .parents = Parents(id)});
      if (Chance(0.3)) next.back().drafts = Below(12);
      next.back().accepted = Below(1 + next.back().drafts);
      rows_ += scheduler_.live_beams(id);
    }
    ++steps_;
    double budget_us = Below(4000);
    if (next.empty() || Chance(0.01)) budget_us = std::numeric_limits<double>::infinity();
    if (Chance(0.05)) budget_us = 0;
    scheduler_.Step(budget_us, next, Chance(0.01));
    if (Chance(0.001)) scheduler_.Flush();
  }

  const Load load_;
  std::mt19937_64 rng_;
  CheckedScheduler scheduler_;
  uint32_t added_ = 0;
  uint32_t pause_steps_ = 0;
  uint64_t rows_ = 0;
  uint64_t steps_ = 0;
};

class SchedulerRandom : public testing::TestWithParam<Load> {};

TEST_P(SchedulerRandom, KeepsItsRulesAndGivesEverythingBack) {
  RandomRun run(GetParam());
  run.Run();
  const PagePool& pool = run.scheduler().pool();
  EXPECT_EQ(run.added(), GetParam().num_arrivals);
  EXPECT_EQ(pool.available(), pool.total());
  EXPECT_EQ(pool.leased(), 0u);
  EXPECT_EQ(pool.promised(), 0u);
  EXPECT_TRUE(run.scheduler().scheduler().idle());
  const CheckedScheduler::Counts& counts = run.scheduler().counts();
  fmt::print("{} steps, mean batch {:.1f}, {} copies, {} joined, {} found, {} given up, {} cut\n",
             run.steps(), run.mean_batch(), counts.copies, counts.joined, counts.ready,
             counts.evicted, counts.cut);
  EXPECT_EQ(counts.copies > 0, GetParam().max_beams > 1);
  EXPECT_GT(counts.joined, 0u);
  EXPECT_GT(counts.ready, 0u);
  EXPECT_GT(counts.cut, 0u);
  EXPECT_GT(run.mean_batch(), 1.0) << "the load is too light to show anything";
}

INSTANTIATE_TEST_SUITE_P(Loads, SchedulerRandom,
                         testing::Values(Load{"greedy", 30000, 2000, 64, 4, 700, 240, 1, 3},
                                         Load{"beams", 30000, 4000, 128, 4, 700, 240, 16, 2},
                                         Load{"scarce_pages", 25000, 160, 64, 4, 700, 120, 4, 1},
                                         Load{"scarce_rows", 10000, 2000, 4, 1, 400, 60, 4, 1},
                                         Load{"strict_order", 5000, 400, 16, 0, 1400, 60, 2, 0.5,
                                              false}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace precis
