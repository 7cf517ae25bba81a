// A simulated document takes what the recorded ops of a real run would take at their limit.
#include "tools/bench/limit/limit_runner.h"

#include "gtest/gtest.h"
#include "tools/bench/measured_engine.h"
#include "tools/bench/simulated_load.h"

namespace precis {
namespace {

constexpr uint32_t kSource = 150;  // two slices of the encoder
constexpr uint32_t kNew = 12;

EngineOptions EngineFor(const char* dtype) {
  EngineOptions options;
  options.model_dir = "tests/golden/gqa_g2";
  options.device = PRECIS_TEST_CPU_BACKEND ? "auto" : "ref";
  options.dtype = options.kv_dtype = dtype;
  options.threads = 1;
  return options;
}

// One speed whatever the size, so that the working set does not matter.
MachineFigures EvenMachine(const RunRecord& record) {
  MachineFigures figures;
  figures.fork_join_s = 2e-6;
  figures.read_rates = {{1 << 20, 1e9}};
  for (const PhaseRecord& phase : record.phases) {
    for (const auto& [cost, total] : phase.ops) {
      if (cost.flops > 0) figures.gemm_peaks[{PeakRows(cost.rows), cost.dtype}] = 3e9;
    }
  }
  return figures;
}

TEST(LimitRunner, TakesTheLimitOfTheOpsThatARealRunHas) {
  const BenchFit fit{.items = {{kSource, kNew}}};
  RunRecord record;
  std::vector<LoadRequest> requests;
  {
    const auto engine = MeasuredEngine::Load(EngineFor("f32"), fit, "one document");
    ASSERT_TRUE(engine.ok()) << engine.status();
    requests = RandomRequests(1, fit.items, (*engine)->info());
    ASSERT_TRUE((*engine)
                    ->RunRecorded(
                        requests, [](uint64_t) {}, &record)
                    .ok());
  }
  const MachineFigures figures = EvenMachine(record);
  const double encode_s = PhaseLimitSeconds(record.of(BenchPhase::kEncode), figures);
  const double decode_s = PhaseLimitSeconds(record.of(BenchPhase::kDecode), figures);
  ASSERT_GT(encode_s, 0);
  ASSERT_GT(decode_s, 0);

  auto fitted = LoadFitted(EngineFor("f32"), fit, "one document");
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  SimulatedClock clock;
  LimitRunner runner(std::move(fitted->loaded.parts), fitted->recorder.get(), figures, &clock);
  for (int round = 0; round < 2; ++round) {
    const auto outcomes =
        SimulateLoad(fitted->options, runner, clock, requests, {0}, 1e6, [](size_t) {});
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    const LoadOutcome& outcome = (*outcomes)[0];
    EXPECT_TRUE(outcome.finished);
    EXPECT_EQ(outcome.inter_token_s.size(), kNew - 1);
    EXPECT_NEAR(outcome.total_s, encode_s + decode_s, 1e-3 * outcome.total_s);
    EXPECT_GT(outcome.first_token_s, encode_s);
  }
}

}  // namespace
}  // namespace precis
