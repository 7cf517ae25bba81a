// Whole models end to end on a real device: what tests/engine/run/golden_test.cc asks of the other
// backends.
#include <algorithm>
#include <string>
#include <tuple>

#include "tests/engine/run/golden_fixtures.h"
#include "tests/gpu/device_testing.h"
#include "tools/verify/verify.h"

namespace precis {
namespace {

// fixture, type of weights, type of keys and values, all cases in one batch
using Case = std::tuple<const char*, const char*, const char*, bool>;

std::string Name(const ::testing::TestParamInfo<Case>& info) {
  const auto& [fixture, dtype, kv_dtype, mixed] = info.param;
  std::string name =
      std::string(fixture) + "_" + dtype + "_kv_" + kv_dtype + (mixed ? "_mixed" : "_alone");
  std::ranges::replace(name, '/', '_');
  return name;
}

class GpuGolden : public ::testing::TestWithParam<Case> {};

TEST_P(GpuGolden, PassesEveryCheck) {
  PRECIS_NEEDS_A_DEVICE();
  const auto& [fixture, dtype, kv_dtype, mixed] = GetParam();
  VerifyOptions options;
  options.engine.model_dir = std::string("tests/golden/") + fixture;
  options.engine.device = "cuda";
  options.engine.dtype = dtype;
  options.engine.kv_dtype = kv_dtype;
  options.engine.max_batch = 32;
  options.engine.pool_bytes = 64u << 20;
  options.engine.encode_slice_rows = 256;  // more than one block of queries in a call
  options.mixed = mixed;
  const auto report = Verify(options, {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  }
  EXPECT_GE(report->passed(), 1u);
}

using ::testing::Bool;
using ::testing::Combine;
using ::testing::Values;
using ::testing::ValuesIn;

INSTANTIATE_TEST_SUITE_P(F32, GpuGolden,
                         Combine(ValuesIn(kStatic), Values("f32"), Values("f32"), Bool()), Name);
INSTANTIATE_TEST_SUITE_P(F32Bart, GpuGolden,
                         Combine(ValuesIn(kBart), Values("f32"), Values("f32"), Bool()), Name);
INSTANTIATE_TEST_SUITE_P(BF16Bart, GpuGolden,
                         Combine(ValuesIn(kBart), Values("bf16"), Values("bf16", "int8"),
                                 Values(false)),
                         Name);
INSTANTIATE_TEST_SUITE_P(F32BySequence, GpuGolden,
                         Combine(ValuesIn(kBySequence), Values("f32"), Values("f32"), Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(F32WithInt8Pages, GpuGolden,
                         Combine(ValuesIn(kStatic), Values("f32"), Values("int8"), Values(false)),
                         Name);
INSTANTIATE_TEST_SUITE_P(BF16, GpuGolden,
                         Combine(ValuesIn(kStatic), Values("bf16"), Values("bf16", "int8"),
                                 Values(false)),
                         Name);

}  // namespace
}  // namespace precis
