// Whole models end to end on the emulated kernels: encoder output, logits, greedy and beam ids are
// those of the fixtures. The GEMM is the oracle's.
#include "engine/verify.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

class CudaGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(CudaGolden, GivesTheIdsOfTheFixture) {
  VerifyOptions options;
  options.engine.model_dir = std::string("tests/golden/") + GetParam();
  options.engine.backend = "cuda";
  options.engine.pool_bytes = 64u << 20;
  const auto report = Verify(options, [](const VerifyCheck& check) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->passed(), 5u);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, CudaGolden,
                         ::testing::Values("wgqa_g2", "odd_shapes", "qcqa", "kdgqa_g2", "pgqa_g2"),
                         [](const auto& fixture) { return std::string(fixture.param); });

}  // namespace
}  // namespace precis
