// Every static fixture through the engine: encoder output, logits and greedy ids, alone and all at
// once, on every backend that this build has.
#include <string>
#include <tuple>

#include "engine/verify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using Case = std::tuple<const char*, const char*, bool>;  // fixture, backend, mixed

class Golden : public testing::TestWithParam<Case> {};

VerifyOptions OptionsFor(const std::string& dir, const std::string& backend) {
  VerifyOptions options;
  options.engine.model_dir = dir;
  options.engine.backend = backend;
  options.engine.threads = 2;
  options.engine.max_batch = 32;
  options.engine.pool_bytes = 64u << 20;
  return options;
}

TEST_P(Golden, PassesEveryCheck) {
  const auto& [fixture, backend, mixed] = GetParam();
  VerifyOptions options = OptionsFor(std::string("tests/golden/") + fixture, backend);
  options.mixed = mixed;
  const auto report = Verify(options, {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    if (check.name.find("beams") != std::string::npos) continue;
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  }
  EXPECT_GT(report->passed(), 15u);
}

constexpr const char* kStatic[] = {
    "t5_v10_relu_tied", "t5_v11_gated_untied", "odd_shapes",   "gqa_g2",     "gqa_g2_from_mha",
    "mqa",              "wgqa_g2",             "wmqa",         "colwgqa_g2", "rowwgqa_g2",
    "rand_wgqa_g4",     "simgqa_g2",           "qcqa",         "loud",       "sharded",
    "bf16_weights",     "fp16_weights"};

std::string Name(const testing::TestParamInfo<Case>& info) {
  const auto& [fixture, backend, mixed] = info.param;
  std::string name = std::string(fixture) + "_" + backend + (mixed ? "_mixed" : "_alone");
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Ref, Golden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("ref"),
                                          testing::Bool()),
                         Name);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, Golden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("cpu"),
                                          testing::Bool()),
                         Name);
#endif

}  // namespace
}  // namespace precis
