// A device that fails for good, below a real model: while loading an error, while serving the end
// of every request, and never an abort or a wait without end.
#include <atomic>
#include <limits>

#include "engine/load/load_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/ref/ref_backend.h"
#include "tests/support/eventually.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

using testing::HasSubstr;

// Fails from the n-th Wait() on, as a device does whose error is sticky.
class FailingBackend final : public RefBackend {
 public:
  explicit FailingBackend(std::atomic<int>* waits_left) : waits_left_(waits_left) {}
  Status Wait() override {
    if (waits_left_->load() == 0) return Internal("an illegal memory access");
    --*waits_left_;
    return RefBackend::Wait();
  }

 private:
  std::atomic<int>* const waits_left_;
};

EngineOptions SmallOptions() {
  EngineOptions options;
  options.model_dir = "tests/golden/wgqa_g2";
  options.dtype = "f32";
  options.max_batch = 4;
  options.max_sequences = 8;
  options.max_source_tokens = 64;
  options.max_new_tokens = 32;
  options.pool_bytes = 8u << 20;
  return options;
}

uint32_t PagesInUse(const EngineStats& s) {
  return s.pages_self + s.pages_cross + s.pages_cached + s.pages_promised;
}

TEST(FailingDevice, WhileLoadingIsAnErrorThatSaysSo) {
  std::atomic<int> waits_left{0};
  const auto loaded = LoadModelOn(std::make_unique<FailingBackend>(&waits_left), SmallOptions());
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("an illegal memory access"));
}

TEST(FailingDevice, EndsEveryRequestWhicheverStepItFailsIn) {
  for (const int step : {0, 1, 2, 7}) {
    std::atomic<int> waits_left{std::numeric_limits<int>::max()};
    auto loaded = LoadModelOn(std::make_unique<FailingBackend>(&waits_left), SmallOptions());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    waits_left = step;
    const auto engine =
        Engine::CreateWithRunner(
            SmallOptions(), std::make_unique<StepRunner>(std::move(loaded->parts)), loaded->info)
            .value();
    GenerationOptions options;
    options.max_new_tokens = options.min_new_tokens = 32;
    std::vector<BlockingRun> runs;
    for (int i = 0; i < 6; ++i) {
      auto run = BlockingRun::Submit(*engine, {5 + i, 6, 7, 1}, options);
      if (run.ok()) {
        runs.push_back(*std::move(run));
      } else {
        EXPECT_EQ(ReasonOf(run.status()), Reason::kDeviceFailed);
      }
    }
    for (BlockingRun& run : runs) {
      const RunResult result = run.Wait();
      EXPECT_EQ(result.reason, FinishReason::kError);
      EXPECT_EQ(ReasonOf(result.status), Reason::kDeviceFailed) << result.status;
    }
    // Kept documents go after the last request has heard of its end.
    EXPECT_TRUE(Eventually([&] { return PagesInUse(engine->stats()) == 0; }));
    const EngineStats stats = engine->stats();
    EXPECT_TRUE(stats.device_failed);
    EXPECT_EQ(stats.waiting + stats.encoding + stats.decoding, 0u);
    const auto refused = BlockingRun::Submit(*engine, {5, 6, 1}, options);
    EXPECT_EQ(ReasonOf(refused.status()), Reason::kDeviceFailed);
    engine->Stop();
  }
}

}  // namespace
}  // namespace precis
