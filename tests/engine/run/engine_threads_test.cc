// An engine has one team of OpenMP threads: that of its step thread (kernels/own_thread.h says
// why). A binary of its own, because any other test's team would be counted too.
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>

#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tools/verify/blocking_run.h"

namespace precis {
namespace {

ptrdiff_t ThreadsOfThisProcess() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST(EngineThreads, OneTeamIsLeftAfterLoading) {
  const ptrdiff_t before = ThreadsOfThisProcess();
  EngineOptions options;
  options.model_dir = "tests/golden/gqa_g2";
  options.threads = 3;
  options.pool_bytes = 16u << 20;
  const auto engine = Engine::Create(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  GenerationOptions greedy;
  greedy.max_new_tokens = 4;
  auto run = BlockingRun::Submit(**engine, {5, 6, 7, 1}, greedy);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Wait().status.ok());
  EXPECT_EQ(ThreadsOfThisProcess() - before, 3) << "the step thread and its two helpers";
}

}  // namespace
}  // namespace precis
