// `precis bench throughput` and `serving` below their words, on a small checkpoint.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/bench/measured_engine.h"
#include "tools/bench/serving.h"
#include "tools/bench/throughput.h"

namespace precis {
namespace {

using testing::HasSubstr;

EngineOptions EngineFor(const std::string& dir) {
  EngineOptions options;
  options.model_dir = dir;
  options.device = PRECIS_TEST_CPU_BACKEND ? "auto" : "ref";
  options.dtype = "f32";
  options.threads = 1;
  return options;
}

ThroughputOptions Offline() {
  ThroughputOptions options;
  options.engine = EngineFor("tests/golden/gqa_g2");
  options.trace = {{20, 6}, {9, 3}, {33, 8}};
  options.documents = 7;
  options.batch = 2;
  options.limit = false;
  return options;
}

TEST(BenchThroughput, RunsTheTraceAgainAndAgain) {
  const auto result = BenchThroughput(Offline(), {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->documents, 7u);
  EXPECT_EQ(result->source_tokens, 2 * (20 + 9 + 33) + 20u);
  EXPECT_EQ(result->new_tokens, 2 * (6 + 3 + 8) + 6u);
  EXPECT_GT(result->total_s, result->encode_s);
  EXPECT_GT(result->encode_s, 0);
  EXPECT_GT(result->mean_batch, 1);
  EXPECT_LE(result->mean_batch, 2);
  EXPECT_GT(result->load_s, 0);
  EXPECT_GT(result->peak_resident_bytes, result->weight_bytes);
  EXPECT_EQ(result->limit_s, 0);
}

TEST(BenchThroughput, SaysHowFarFromTheLimit) {
  ThroughputOptions options = Offline();
  options.limit = true;
  const auto result = BenchThroughput(options, {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->encode_limit_s, 0);
  EXPECT_GT(result->limit_s, result->encode_limit_s);
  EXPECT_FALSE(result->profile.empty());
}

TEST(BenchThroughput, RefusesWhatMakesNoSense) {
  const auto error_of = [](const ThroughputOptions& options) {
    return std::string(BenchThroughput(options, {}).status().message());
  };
  ThroughputOptions options = Offline();
  options.batch = 0;
  EXPECT_THAT(error_of(options), HasSubstr("--batch is 0, must be 1 to 1024"));
  options = Offline();
  options.documents = 1'000'000;
  EXPECT_THAT(error_of(options), HasSubstr("--documents is 1000000"));
  options = Offline();
  options.repeats = 0;
  EXPECT_THAT(error_of(options), HasSubstr("--repeats is 0"));
  options = Offline();
  options.engine.model_dir.clear();
  EXPECT_THAT(error_of(options), HasSubstr("--model"));
  options = Offline();
  options.trace.clear();
  EXPECT_THAT(error_of(options), HasSubstr("the trace has no document"));
}

TEST(BenchServingEngine, ServesRequestsAsTheyCome) {
  ServingOptions options;
  options.trace = {{20, 6}, {9, 3}};
  options.rates = {200};
  options.seconds = 0.2;
  options.limit = false;
  std::vector<ServingResult> results;
  std::vector<BenchProgress> heard;
  ServedModel model;
  const auto summary = BenchServingEngine(
      options, EngineFor("tests/golden/gqa_g2"), 4, [&](const ServedModel& m) { model = m; },
      [&](const ServingResult& r) { results.push_back(r); },
      [&](const BenchProgress& p) { heard.push_back(p); });
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(model.engine, "precis");
  EXPECT_EQ(model.model, "gqa_g2");
  EXPECT_GT(model.load_s, 0);
  ASSERT_EQ(results.size(), 2u);
  const ServingResult& r = results[1];
  EXPECT_EQ(r.requests, 40u);
  EXPECT_EQ(r.unfinished, 0u);
  EXPECT_GT(r.first_token_s.p50, 0);
  EXPECT_GT(r.inter_token_s.p50, 0);
  EXPECT_GT(r.total_s.p50, r.first_token_s.p50);
  EXPECT_GE(r.total_s.p99, r.total_s.p95);
  EXPECT_FALSE(heard.empty());
  EXPECT_FALSE(summary->highest_per_s.has_value());
  EXPECT_EQ(summary->limit_per_s, 0);
}

TEST(BenchServingEngine, SearchesTheRateOfTheLimitAsItsOwn) {
  ServingOptions options;
  options.trace = {{20, 6}, {9, 3}};
  options.find_rate = true;
  options.seconds = 0.05;
  options.max_requests = 20;
  size_t unloaded = 0;
  const auto summary = BenchServingEngine(
      options, EngineFor("tests/golden/gqa_g2"), 4, [](const ServedModel&) {},
      [&](const ServingResult& r) { unloaded += r.offered_per_s == 0; }, {});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(unloaded, 1u) << "simulated results are not reported as measured ones";
  EXPECT_GT(summary->limit_per_s, 0);
  EXPECT_GT(summary->limit_rate, 0);
  EXPECT_GT(summary->limit_unloaded_p95_s, 0);
  ASSERT_TRUE(summary->highest_per_s.has_value());
}

// Sanitizers keep what is freed for a while, and shadows of all.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(MeasuredEngine, HoldsItsWeightsPagesAndWorkspacesAndLittleMore) {
  const BenchFit fit{.items = {{512, 32}}, .unfinished = 1};
  const uint64_t before = ResidentBytes();
  auto engine = MeasuredEngine::Load(EngineFor("models/demo"), fit, "one document");
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto requests = RandomRequests(1, fit.items, (*engine)->info());
  ASSERT_TRUE((*engine)->Run(requests, [](uint64_t) {}).ok());
  const ModelInfo& info = (*engine)->info();
  // Two workspaces of 512 rows by everything a layer makes of a row, as f32.
  const uint64_t workspaces =
      uint64_t{2} * 512 * (4 * info.d_model + 3 * info.encoder.d_ff) * sizeof(float);
  // Less than the weights: a second copy of them would show.
  constexpr uint64_t kOverhead = uint64_t{24} << 20;
  ASSERT_GT(info.weight_bytes, kOverhead);
  EXPECT_LE(ResidentBytes() - before, info.weight_bytes + info.pool_bytes + workspaces + kOverhead);
}
#endif

}  // namespace
}  // namespace precis
