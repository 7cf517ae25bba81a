// Whole models end to end on the emulated kernels: encoder output, logits, greedy and beam ids are
// those of the fixtures, and within their limits where types round. The GEMM is the oracle's.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "tools/verify/verify.h"

namespace precis {
namespace {

struct Case {
  const char* fixture;
  const char* dtype;
  const char* kv_dtype;
};

std::string Name(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  std::string name = std::string(c.fixture) + "_" + c.dtype + "_kv_" + c.kv_dtype;
  std::ranges::replace(name, '/', '_');
  return name;
}

class CudaGolden : public ::testing::TestWithParam<Case> {};

TEST_P(CudaGolden, PassesEveryCheck) {
  VerifyOptions options;
  options.engine.model_dir = std::string("tests/golden/") + GetParam().fixture;
  options.engine.device = "cuda";
  options.engine.dtype = GetParam().dtype;
  options.engine.kv_dtype = GetParam().kv_dtype;
  options.engine.pool_bytes = 64u << 20;
  options.engine.encode_slice_rows = 256;
  const auto report = Verify(options, {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  }
  EXPECT_GE(report->passed(), 3u);
}

// The others take minutes on a busy machine: label `full`.
INSTANTIATE_TEST_SUITE_P(Some, CudaGolden,
                         ::testing::Values(Case{"wgqa_g2", "f32", "f32"},
                                           Case{"wgqa_g2", "bf16", "int8"},
                                           Case{"families/bart_wgqa_g2", "f32", "f32"}),
                         Name);
INSTANTIATE_TEST_SUITE_P(
    More, CudaGolden,
    ::testing::Values(Case{"odd_shapes", "f32", "f32"}, Case{"qcqa", "f32", "f32"},
                      Case{"kdgqa_g2", "f32", "f32"}, Case{"dgqa_ema_g2", "f32", "f32"},
                      Case{"pgqa_g2", "f32", "f32"}, Case{"t5_v11_gated_untied", "bf16", "bf16"},
                      Case{"more/d64_gqa_g2", "bf16", "bf16"},
                      Case{"families/bart_cnn", "f32", "f32"},
                      Case{"families/distilbart", "bf16", "bf16"}),
    Name);

}  // namespace
}  // namespace precis
