// The simulated queue on machines that were made up, whose queues can be worked out by hand.
#include "tools/bench/simulated_load.h"

#include <algorithm>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/bench/arrivals.h"
#include "tools/bench/serving.h"

namespace precis {
namespace {

using testing::Each;
using testing::Field;

constexpr double kItemSeconds = 0.001;
constexpr double kStepSeconds = 0.01;
constexpr uint32_t kItems = 3;  // of a document of at most 64 tokens

// A document costs kItems times kItemSeconds, a decode step of any batch kStepSeconds.
class MadeUpRunner final : public ModelRunner {
 public:
  explicit MadeUpRunner(SimulatedClock* clock) : clock_(clock) {}

  EncodeShape encode_shape() const override { return {1, 1, 64}; }
  EncodeCosts encode_costs() const override { return {100, 100, 0, 100}; }
  uint32_t num_pages() const override { return 4096; }
  uint32_t self_slots() const override { return 16; }
  uint32_t cross_slots() const override { return 16; }
  void JoinDocument(DocumentId, std::span<const int32_t>) override { ++documents; }
  void LeaveDocument(DocumentId) override { --documents; }
  void Join(SequenceId, const RunnerSequence&) override { ++sequences; }
  void Leave(SequenceId) override { --sequences; }
  Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) override {
    for (const EncodeSlice& slice : plan.encodes) {
      clock_->Advance((slice.end_item - slice.begin_item) * kItemSeconds);
    }
    out->sequences.clear();
    out->decode_us = plan.decodes.empty() ? 0 : kStepSeconds * 1e6;
    clock_->Advance(out->decode_us * 1e-6);
    most_rows = std::max(most_rows, plan.decodes.size());
    for (const DecodeRow& row : plan.decodes) {
      EXPECT_FALSE(pages.SelfPages(row.sequence, 0).empty());
      EXPECT_FALSE(pages.CrossPages(row.sequence).empty());
      out->sequences.push_back({.tokens = kTokens, .parents = {}});
    }
    return status;
  }
  std::vector<Hypothesis> Hypotheses(SequenceId) const override { return {}; }

  Status status;
  int documents = 0;
  int sequences = 0;
  size_t most_rows = 0;

 private:
  static constexpr int32_t kTokens[] = {7};
  SimulatedClock* const clock_;
};

class SimulateLoadTest : public testing::Test {
 protected:
  std::vector<LoadOutcome> Run(const std::vector<uint32_t>& new_tokens,
                               const std::vector<double>& due_s, double limit_s = 1e6) {
    std::vector<LoadRequest> requests;
    for (const uint32_t count : new_tokens) requests.push_back({{5, 6, 1}, count});
    auto outcomes = SimulateLoad(options_, runner_, clock_, requests, due_s, limit_s,
                                 [&](size_t ended) { ended_ = ended; });
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    EXPECT_EQ(runner_.documents, 0);
    EXPECT_EQ(runner_.sequences, 0);
    return *std::move(outcomes);
  }

  EngineOptions options_;
  SimulatedClock clock_;
  MadeUpRunner runner_{&clock_};
  size_t ended_ = 0;
};

TEST_F(SimulateLoadTest, ARequestAloneTakesItsEncodingAndItsSteps) {
  const auto outcomes = Run({4}, {0.5});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_TRUE(outcomes[0].finished);
  EXPECT_NEAR(outcomes[0].first_token_s, kItems * kItemSeconds + kStepSeconds, 1e-9);
  EXPECT_NEAR(outcomes[0].total_s, kItems * kItemSeconds + 4 * kStepSeconds, 1e-9);
  ASSERT_EQ(outcomes[0].inter_token_s.size(), 3u);
  for (const double s : outcomes[0].inter_token_s) EXPECT_NEAR(s, kStepSeconds, 1e-9);
  EXPECT_EQ(ended_, 1u);
  EXPECT_NEAR(Seconds(clock_.Now().time_since_epoch()), 0.5 + outcomes[0].total_s, 1e-9);
}

TEST_F(SimulateLoadTest, ABatchOfOneIsAQueueWithOneServer) {
  options_.max_batch = 1;
  const std::vector<double> due_s = PoissonArrivals(3, 15, 200);
  std::vector<uint32_t> tokens(due_s.size());
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = 1 + static_cast<uint32_t>(i % 7);
  const auto outcomes = Run(tokens, due_s);
  double free_s = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    free_s = std::max(free_s, due_s[i]) + kItems * kItemSeconds + tokens[i] * kStepSeconds;
    ASSERT_NEAR(outcomes[i].total_s, free_s - due_s[i], 1e-6) << i;
    EXPECT_EQ(outcomes[i].index, i);
  }
  EXPECT_EQ(runner_.most_rows, 1u);
}

TEST_F(SimulateLoadTest, RequestsThatComeTogetherShareTheirSteps) {
  const auto outcomes = Run(std::vector<uint32_t>(8, 50), std::vector<double>(8, 0.0));
  EXPECT_EQ(runner_.most_rows, 8u);
  const double encoding = 8 * kItems * kItemSeconds;
  for (const LoadOutcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.finished);
    EXPECT_LT(outcome.total_s, encoding + 60 * kStepSeconds);
  }
}

// A document of 640 tokens has 30 items: as long as three decode steps.
TEST_F(SimulateLoadTest, EncodingKeepsThePaceOfWhatDecodes) {
  const std::vector<LoadRequest> requests = {{{5, 6, 1}, 40}, {std::vector<int32_t>(640, 5), 1}};
  const auto longest_pause = [&] {
    const auto outcomes =
        SimulateLoad(options_, runner_, clock_, requests, {0, 0.1}, 1e6, [](size_t) {}).value();
    return *std::ranges::max_element(outcomes[0].inter_token_s);
  };
  EXPECT_LT(longest_pause(), 2.5 * kStepSeconds);
  options_.encode_budget = std::numeric_limits<double>::infinity();
  EXPECT_NEAR(longest_pause(), kStepSeconds + 30 * kItemSeconds, 1e-6);
}

TEST_F(SimulateLoadTest, GivesUpAfterItsTimeAndLeavesNothingBehind) {
  options_.max_batch = 1;
  const auto outcomes = Run({10, 100, 1}, {0, 0.01, 0.02}, 0.5);
  EXPECT_EQ(ended_, 1u);
  EXPECT_TRUE(outcomes[0].finished);
  EXPECT_FALSE(outcomes[1].finished);
  EXPECT_GE(outcomes[1].total_s, 0.49 - 1e-9);
  EXPECT_FALSE(outcomes[2].finished);
}

TEST_F(SimulateLoadTest, EndsWithTheRunnersError) {
  runner_.status = Internal("the made-up machine failed");
  const auto outcomes =
      SimulateLoad(options_, runner_, clock_, {{{5, 1}, 2}}, {0}, 1, [](size_t) {});
  EXPECT_EQ(outcomes.status(), runner_.status);
}

// One server and one service time: the rate at which p95 reaches three of them is that of the
// recursion of the queue, which knows nothing of schedulers and steps.
TEST_F(SimulateLoadTest, TheHighestRateIsThatOfTheQueue) {
  options_.max_batch = 1;
  ServingOptions serving;
  serving.trace = {{3, 5}};
  serving.find_rate = true;
  ModelInfo model;
  model.vocab_size = 100;
  const LoadRunner run_load = [&](const auto& requests, const auto& due_s, double limit_s,
                                  const auto& on_ended) {
    return SimulateLoad(options_, runner_, clock_, requests, due_s, limit_s, on_ended);
  };
  std::vector<ServingResult> results;
  const auto highest = BenchServing(serving, model, run_load,
                                    [&](const ServingResult& r) { results.push_back(r); }, {});
  ASSERT_TRUE(highest.ok()) << highest.status();
  const double service_s = kItems * kItemSeconds + 5 * kStepSeconds;
  EXPECT_NEAR(results[0].total_s.p95, service_s, 1e-9);
  size_t held = 0;
  for (size_t i = 1; i < results.size(); ++i) {
    const ServingResult& r = results[i];
    std::vector<double> total_s;
    double free_s = 0;
    for (const double due_s : PoissonArrivals(serving.seed, r.offered_per_s, r.requests)) {
      free_s = std::max(free_s, due_s) + service_s;
      total_s.push_back(free_s - due_s);
    }
    EXPECT_NEAR(r.total_s.p95, Percentile(total_s, 0.95), 1e-6) << r.offered_per_s;
    EXPECT_EQ(r.holds, Percentile(total_s, 0.95) <= 3 * service_s) << r.offered_per_s;
    if (r.holds) ++held;
  }
  EXPECT_GT(held, 0u);
  EXPECT_LT(held, results.size() - 1);
  // Below what one server can do at all, and not far below.
  EXPECT_LT(**highest, 1 / service_s);
  EXPECT_GT(**highest, 0.3 / service_s);
}

TEST_F(SimulateLoadTest, TheSameLoadHasTheSameOutcomes) {
  const std::vector<double> due_s = PoissonArrivals(5, 40, 100);
  const std::vector<uint32_t> tokens(due_s.size(), 9);
  const auto first = Run(tokens, due_s);
  const auto second = Run(tokens, due_s);
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_NEAR(first[i].total_s, second[i].total_s, 1e-8) << i;
  }
  EXPECT_GT(runner_.most_rows, 1u);
  EXPECT_THAT(first, Each(Field(&LoadOutcome::finished, true)));
}

}  // namespace
}  // namespace precis
