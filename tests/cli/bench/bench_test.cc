#include "cli/bench/bench.h"

#include <sstream>

#include "cli/base/command.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis::cli {
namespace {

using testing::HasSubstr;

LatencyResult ResultOf(BenchCase c) {
  LatencyResult r;
  r.of = c;
  r.model = "t5-small";
  r.dtype = "bf16";
  r.kv_type = "int8";
  r.device = "cpu";
  r.isa = "amx";
  r.threads = 2;
  r.source_tokens = 512;
  r.new_tokens = 128;
  r.encode_s = 0.1234567;
  r.total_s = 0.6234567;
  r.encode_limit_s = 0.1;
  r.limit_s = 0.4;
  r.weight_bytes = 1000;
  r.pool_bytes = 2000;
  r.resident_bytes = 3000;
  r.workspace_bytes = 500;
  r.load_s = 0.25;
  r.profile = {{"decode", "gemm 512x512", 10, 0.002, 0.00125, 0.001, 20'000'000, 4'000'000},
               {"engine", "outside ops", 1, 0.001, 0.001, 0, 0, 0}};
  r.machine = {{"fork-join", 1.5, "us"}};
  return r;
}

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome OutcomeOf(const std::string& cases, const BenchLook& look,
                  const Status& status = OkStatus()) {
  std::ostringstream out, err;
  const auto bench = [&](const LatencyOptions& options,
                         const std::function<void(const LatencyResult&)>& on_result,
                         const std::function<void(const BenchProgress&)>& on_progress) {
    for (size_t i = 0; i < options.cases.size(); ++i) {
      if (on_progress) {
        const BenchCase& c = options.cases[i];
        on_progress(
            {i, options.cases.size(), fmt::format("{}x{}", c.batch, c.beams), "run 1 of 2", 0.5});
      }
      if (status.ok()) on_result(ResultOf(options.cases[i]));
    }
    return status;
  };
  const int exit_code = RunBenchLatency({}, cases, look, bench, out, err);
  return {exit_code, out.str(), err.str()};
}

TEST(BenchCommand, PrintsALineOfJsonForEachCase) {
  const Outcome outcome = OutcomeOf("1x1,8x2", {});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.err, "");
  std::istringstream lines(outcome.out);
  std::vector<nlohmann::json> json;
  for (std::string line; std::getline(lines, line);) json.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[1]["batch"], 8);
  EXPECT_EQ(json[1]["beams"], 2);
}

TEST(BenchCommand, WritesTheFieldsOfThePeersToolAndItsOwn) {
  const std::string line = LatencyJson(ResultOf({32, 1}));
  // In this order: the first twelve are those that every engine has.
  EXPECT_EQ(line, R"({"engine":"precis","type":"bf16","model":"t5-small","threads":2,"batch":32,)"
                  R"("beams":1,"source":512,"new":128,"encode_s":0.1235,"total_s":0.6235,)"
                  R"("step_ms":3.906,"new_tokens_per_s":6569.8,"kv_type":"int8","device":"cpu",)"
                  R"("isa":"amx","encode_limit_s":0.1,"limit_s":0.4,"step_limit_ms":2.344,)"
                  R"("fraction_of_limit":0.642,"resident_bytes":3000,"pool_bytes":2000,)"
                  R"("weight_bytes":1000,"workspace_bytes":500,"resident_bound_bytes":120003500,)"
                  R"("resident_holds":true,"load_s":0.25})");
}

TEST(BenchCommand, ARunWithoutALimitSaysNoneAndHasNoProfile) {
  LatencyResult result = ResultOf({32, 1});
  result.device = "cuda";
  result.encode_limit_s = result.limit_s = 0;
  result.profile.clear();
  EXPECT_THAT(LatencyJson(result), testing::Not(HasSubstr("limit")));
  EXPECT_THAT(LatencyProfile(result), HasSubstr("no profile: ops of this device"));
}

TEST(BenchCommand, PutsTheProfileOnStandardError) {
  const Outcome outcome = OutcomeOf("1x1", {.profile = true});
  EXPECT_EQ(outcome.out, LatencyJson(ResultOf({1, 1})) + "\n");
  EXPECT_THAT(outcome.err,
              HasSubstr("\nphase   op                  count        ms   best ms  limit ms fraction"
                        "  of best  GFLOP/s    GB/s\n"
                        "decode  gemm 512x512           10     2.000     1.250     1.000    0.500"
                        "    0.800     10.0     2.0\n"
                        "engine  outside ops             1     1.000     1.000     0.000    0.000"
                        "    0.000      0.0     0.0\n"
                        "all                            11     3.000     2.250     1.000    0.333"
                        "    0.444      6.7     1.3\n"));
  EXPECT_THAT(outcome.err, HasSubstr("fork-join 1.5 us"));
}

TEST(BenchCommand, DrawsABarOnATerminalAndClearsIt) {
  const Outcome outcome = OutcomeOf("1x1,8x1", {.terminal = true});
  EXPECT_THAT(outcome.err, HasSubstr("[######..................] 1x1: run 1 of 2"));
  EXPECT_THAT(outcome.err, HasSubstr("[##################......] 8x1: run 1 of 2"));
  EXPECT_TRUE(outcome.err.ends_with("\r\x1b[K"));
  EXPECT_THAT(outcome.out, testing::Not(HasSubstr("\r")));
}

TEST(BenchCommand, CasesThatMakeNoSenseAreOfTheUsage) {
  const Outcome outcome = OutcomeOf("1x1,two", {});
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("'two' is no case"));
}

TEST(BenchCommand, SaysWhatWentWrong) {
  const Outcome outcome = OutcomeOf("1x1", {}, NotFound("x/config.json: no such file"));
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "precis: x/config.json: no such file\n");
}

}  // namespace
}  // namespace precis::cli
