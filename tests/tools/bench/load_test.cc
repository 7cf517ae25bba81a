// The load generator on a target that is made up: each request takes `service_s`, one at a time.
#include "tools/bench/load.h"

#include <algorithm>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/bench/serving.h"

namespace precis {
namespace {

using testing::HasSubstr;

class QueueTarget final : public LoadTarget {
 public:
  explicit QueueTarget(double service_s) : service_s_(service_s) {}

  Status Send(size_t index, const LoadRequest& request) override {
    const double now = Now();
    free_s_ = std::max(free_s_, now) + service_s_ * (sources.size() < slow ? 20 : 1);
    waiting_.push_back({index, now, free_s_});
    sources.push_back(request.source_ids);
    if (index == fails_at) return Unavailable("the target is gone");
    return OkStatus();
  }
  Status Take(std::vector<LoadOutcome>* outcomes) override {
    while (!waiting_.empty() && waiting_.front().end_s <= Now()) {
      const Waiting& w = waiting_.front();
      const double total_s = w.end_s - w.sent_s;
      outcomes->push_back({w.index, total_s / 2, total_s, {total_s / 4}, !refuses});
      waiting_.erase(waiting_.begin());
    }
    return OkStatus();
  }
  void GiveUp() override {
    given_up += waiting_.size();
    waiting_.clear();
  }

  bool refuses = false;
  size_t fails_at = SIZE_MAX;
  size_t slow = 0;  // so many requests take 20 times as long
  size_t given_up = 0;
  std::vector<std::vector<int32_t>> sources;

 private:
  struct Waiting {
    size_t index;
    double sent_s;
    double end_s;
  };
  double Now() const { return Seconds(clock_.Now().time_since_epoch()); }

  const SteadyClock clock_{};
  const double service_s_;
  double free_s_ = 0;
  std::vector<Waiting> waiting_;
};

std::vector<LoadRequest> Requests(size_t count) {
  return std::vector<LoadRequest>(count, LoadRequest{{5, 1}, 2});
}

TEST(RunLoad, CountsFromWhenARequestWasDue) {
  QueueTarget target(0.02);
  const auto outcomes = RunLoad(target, Requests(3), {0, 0, 0.01}, 10, [](size_t) {});
  ASSERT_TRUE(outcomes.ok());
  ASSERT_EQ(outcomes->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE((*outcomes)[i].finished);
    EXPECT_EQ((*outcomes)[i].index, i);
  }
  EXPECT_GE((*outcomes)[0].total_s, 0.02);
  EXPECT_GE((*outcomes)[1].total_s, 0.04);
  EXPECT_GE((*outcomes)[2].total_s, 0.05 - 1e-9);
  EXPECT_EQ(target.given_up, 0u);
}

TEST(RunLoad, GivesUpAfterItsTime) {
  QueueTarget target(1000);
  std::vector<size_t> heard;
  const auto outcomes = RunLoad(target, Requests(3), {0, 0.01, 5}, 0.05,
                                [&](size_t ended) { heard.push_back(ended); });
  ASSERT_TRUE(outcomes.ok());
  EXPECT_EQ(target.given_up, 2u);
  EXPECT_FALSE((*outcomes)[0].finished);
  EXPECT_GE((*outcomes)[0].total_s, 0.05);
  EXPECT_EQ((*outcomes)[2].total_s, 0);  // it was not due yet
  EXPECT_FALSE(heard.empty());
}

TEST(RunLoad, EndsWithTheTargetsError) {
  QueueTarget target(0.001);
  target.fails_at = 1;
  EXPECT_EQ(RunLoad(target, Requests(3), {0, 0, 0}, 10, [](size_t) {}).status(),
            Unavailable("the target is gone"));
}

ServingOptions FastOptions() {
  ServingOptions options;
  options.trace = {{4, 2}, {6, 2}};
  options.seconds = 0.2;
  options.rates = {100};
  return options;
}

ModelInfo SmallModel() {
  ModelInfo model;
  model.vocab_size = 100;
  return model;
}

std::string ErrorOf(const ServingOptions& options) {
  QueueTarget target(0.001);
  return std::string(BenchServing(options, SmallModel(), target, [](const ServingResult&) {}, {})
                         .status()
                         .message());
}

TEST(BenchServing, ReportsTheTraceAloneAndThenTheRate) {
  QueueTarget target(0.02);  // 50 requests a second are too many for it
  std::vector<ServingResult> results;
  const auto found = BenchServing(FastOptions(), SmallModel(), target,
                                  [&](const ServingResult& r) { results.push_back(r); }, {});
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->has_value());
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].requests, 2u);
  EXPECT_EQ(results[0].offered_per_s, 0);
  EXPECT_GE(results[0].total_s.p50, 0.02);
  // Arrivals last 10 times what is bearable, which is 3 times 20 ms, though 0.2 s were asked for.
  EXPECT_GE(results[1].requests, 60u);
  EXPECT_EQ(results[1].offered_per_s, 100);
  EXPECT_GT(results[1].p95_over_unloaded, 3);
  EXPECT_FALSE(results[1].holds);
  EXPECT_LE(results[1].achieved_per_s, 60);
  EXPECT_GT(results[1].inter_token_s.p95, 0);
}

TEST(BenchServing, NoTwoRequestsHaveTheSameDocument) {
  QueueTarget target(0.0005);
  ServingOptions options = FastOptions();
  options.rates = {200, 400};
  options.trace = {{30, 2}};
  ASSERT_TRUE(BenchServing(options, SmallModel(), target, [](const ServingResult&) {}, {}).ok());
  std::ranges::sort(target.sources);
  EXPECT_EQ(target.sources.size(), 2u + 40 + 80);
  EXPECT_EQ(std::ranges::adjacent_find(target.sources), target.sources.end());
}

// A machine that is slow for a while would otherwise set a bound that anything keeps, and arrivals
// that take a quarter of an hour.
TEST(BenchServing, AnItemAloneTakesAsLongAsTheFasterOfTwoDocuments) {
  QueueTarget target(0.01);
  target.slow = 2;  // each item of the trace for the first time
  ServingOptions options = FastOptions();
  options.rates = {10};
  std::vector<ServingResult> results;
  ASSERT_TRUE(BenchServing(options, SmallModel(), target,
                           [&](const ServingResult& r) { results.push_back(r); }, {})
                  .ok());
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].requests, 2u);
  EXPECT_LT(results[0].total_s.p95, 0.1);
  EXPECT_LT(results[0].wall_s, 0.2);
}

TEST(BenchServing, FindsARateBelowWhatTheTargetCanServe) {
  QueueTarget target(0.01);
  ServingOptions options = FastOptions();
  options.rates.clear();
  options.find_rate = true;
  const auto found = BenchServing(options, SmallModel(), target, [](const ServingResult&) {}, {});
  ASSERT_TRUE(found.ok());
  ASSERT_TRUE(found->has_value());
  EXPECT_GT(**found, 0);
  EXPECT_LT(**found, 150);  // 20 requests may come in a burst
}

TEST(BenchServing, ATargetThatRefusesWhatComesAloneIsAnError) {
  QueueTarget target(0.001);
  target.refuses = true;
  const auto found =
      BenchServing(FastOptions(), SmallModel(), target, [](const ServingResult&) {}, {});
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("was not served"));
}

TEST(BenchServing, RefusesWhatMakesNoSense) {
  ServingOptions options = FastOptions();
  options.rates.clear();
  EXPECT_THAT(ErrorOf(options), HasSubstr("--rates, or --find-rate"));
  options = FastOptions();
  options.rates = {0.0};
  EXPECT_THAT(ErrorOf(options), HasSubstr("--rates: 0 is no rate"));
  options = FastOptions();
  options.seconds = 0;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--seconds is 0"));
  options = FastOptions();
  options.slowdown = 0.5;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--slowdown is 0.5"));
  options = FastOptions();
  options.max_requests = 3;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--max-requests is 3, must be 20 to"));
  options = FastOptions();
  options.trace.clear();
  EXPECT_THAT(ErrorOf(options), HasSubstr("the trace has no document"));
}

}  // namespace
}  // namespace precis
