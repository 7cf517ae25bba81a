// Every static fixture through the engine: encoder output, logits and ids, alone and all at once,
// on every backend that this build has; and rounded to bf16 and int8 within the limits of
// tests/golden/README.md.
#include <algorithm>
#include <fstream>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/run/golden_fixtures.h"
#include "tools/verify/verify.h"

namespace precis {
namespace {

using Case = std::tuple<const char*, const char*, bool>;  // fixture, backend, mixed

class Golden : public testing::TestWithParam<Case> {};

VerifyOptions OptionsFor(const std::string& dir, const std::string& backend) {
  VerifyOptions options;
  options.engine.model_dir = dir;
  options.engine.device = backend;
  options.engine.threads = 2;
  options.engine.max_batch = 32;
  options.engine.pool_bytes = 64u << 20;
  options.engine.encode_slice_rows = 256;  // more than one block of queries in a call
  return options;
}

TEST_P(Golden, PassesEveryCheck) {
  const auto& [fixture, backend, mixed] = GetParam();
  VerifyOptions options = OptionsFor(std::string("tests/golden/") + fixture, backend);
  options.mixed = mixed;
  const auto report = Verify(options, {});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  }
  EXPECT_GE(report->passed(), 3u);
}

DType TypeOf(const nlohmann::json& name) {
  if (name == "f32") return DType::kF32;
  return name == "bf16" ? DType::kBF16 : DType::kI8;
}

class SimulatedLimits : public testing::TestWithParam<std::pair<const char*, NormKind>> {};

TEST_P(SimulatedLimits, AreThoseOfVerify) {
  const auto& [name, norm] = GetParam();
  std::ifstream file("tests/golden/limits.json");
  const nlohmann::json limits_of_norms = nlohmann::json::parse(file)["norms"];
  const auto of_norm = std::ranges::find_if(
      limits_of_norms, [name = name](const nlohmann::json& of) { return of["norm"] == name; });
  ASSERT_NE(of_norm, limits_of_norms.end());
  const nlohmann::json& types = (*of_norm)["types"];
  ASSERT_EQ(types.size(), 5u);
  for (const nlohmann::json& pair : types) {
    const RoundedLimits limits = LimitsFor(TypeOf(pair["weights"]), TypeOf(pair["kv"]), norm);
    EXPECT_EQ(limits.mean, pair["limit"]["mean"].get<double>()) << pair;
    EXPECT_EQ(limits.largest, pair["limit"]["largest"].get<double>()) << pair;
    EXPECT_EQ(limits.share, pair["limit"]["share"].get<double>()) << pair;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryNorm, SimulatedLimits,
                         testing::Values(std::pair("rms", NormKind::kRms),
                                         std::pair("layer", NormKind::kLayer)),
                         [](const auto& norm) { return std::string(norm.param.first); });

// fixture, backend, type of weights, type of keys and values
using RoundedCase = std::tuple<const char*, const char*, const char*, const char*>;

class RoundedGolden : public testing::TestWithParam<RoundedCase> {};

TEST_P(RoundedGolden, StaysWithinTheLimitsOfItsTypes) {
  const auto& [fixture, backend, dtype, kv_dtype] = GetParam();
  VerifyOptions options = OptionsFor(std::string("tests/golden/") + fixture, backend);
  options.engine.dtype = dtype;
  options.engine.kv_dtype = kv_dtype;
  const auto report = Verify(options, {});
  for (const char* lacking : {"no fast bf16 GEMM", "need a CPU with AVX512-VNNI"}) {
    if (!report.ok() && absl::StrContains(report.status().message(), lacking)) {
      GTEST_SKIP() << "this CPU cannot: " << report.status();
    }
  }
  ASSERT_TRUE(report.ok()) << report.status();
  uint32_t logits = 0;
  for (const VerifyCheck& check : report->checks) {
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
    logits += check.name.find("logits") != std::string::npos;
  }
  EXPECT_GE(logits, 1u);
}

std::string RoundedName(const testing::TestParamInfo<RoundedCase>& info) {
  const auto& [fixture, backend, dtype, kv_dtype] = info.param;
  std::string name = std::string(fixture) + "_" + backend + "_" + dtype + "_kv_" + kv_dtype;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

std::string Name(const testing::TestParamInfo<Case>& info) {
  const auto& [fixture, backend, mixed] = info.param;
  std::string name = std::string(fixture) + "_" + backend + (mixed ? "_mixed" : "_alone");
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Ref, Golden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("ref"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(RefFamilies, Golden,
                         testing::Combine(testing::ValuesIn(kFamilies), testing::Values("ref"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(RefFamilies, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kFamilies), testing::Values("ref"),
                                          testing::Values("bf16", "int8"), testing::Values("bf16")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(RefBart, Golden,
                         testing::Combine(testing::ValuesIn(kBart), testing::Values("ref"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(RefBart, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kBart), testing::Values("ref"),
                                          testing::Values("bf16", "int8"),
                                          testing::Values("bf16", "int8")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(RefBySequence, Golden,
                         testing::Combine(testing::ValuesIn(kBySequence), testing::Values("ref"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(Ref, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("ref"),
                                          testing::Values("bf16", "int8"),
                                          testing::Values("bf16", "int8")),
                         RoundedName);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, Golden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("cpu"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(CpuFamilies, Golden,
                         testing::Combine(testing::ValuesIn(kFamilies), testing::Values("cpu"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(CpuBart, Golden,
                         testing::Combine(testing::ValuesIn(kBart), testing::Values("cpu"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(CpuBart, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kBart), testing::Values("cpu"),
                                          testing::Values("bf16", "int8"),
                                          testing::Values("bf16", "int8")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(CpuBartF32, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kBart), testing::Values("cpu"),
                                          testing::Values("f32"), testing::Values("int8")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(CpuBySequence, Golden,
                         testing::Combine(testing::ValuesIn(kBySequence), testing::Values("cpu"),
                                          testing::Bool()),
                         Name);
INSTANTIATE_TEST_SUITE_P(CpuBySequence, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kBySequence), testing::Values("cpu"),
                                          testing::Values("f32", "bf16", "int8"),
                                          testing::Values("bf16", "int8")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(Cpu, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("cpu"),
                                          testing::Values("bf16", "int8"),
                                          testing::Values("bf16", "int8")),
                         RoundedName);
INSTANTIATE_TEST_SUITE_P(CpuF32, RoundedGolden,
                         testing::Combine(testing::ValuesIn(kStatic), testing::Values("cpu"),
                                          testing::Values("f32"), testing::Values("int8")),
                         RoundedName);
#endif

}  // namespace
}  // namespace precis
