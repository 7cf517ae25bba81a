// `precis bench throughput` and `serving`: their lines, and words that make no sense.
#include "cli/bench/bench_serving.h"

#include <sstream>

#include "cli/base/command.h"
#include "cli/bench/bench_throughput.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

ServingResult ResultOf(double rate) {
  ServingResult r;
  r.offered_per_s = rate;
  r.achieved_per_s = rate * 0.9;
  r.requests = 40;
  r.wall_s = 20.12345;
  r.total_s = {0.1, 0.2, 0.3};
  r.first_token_s = {0.01, 0.02, 0.03};
  r.inter_token_s = {0.001, 0.002, 0.003};
  r.mean_total_s = 0.11;
  r.p95_over_unloaded = 2.5;
  r.slowdown_p95 = 2.75;
  return r;
}

Outcome Serve(const std::string& rates, const std::string& trace, const ServingSummary& summary,
              const Status& status = OkStatus()) {
  std::ostringstream out, err;
  const ServingBench bench = [&](const ServingOptions& options, const auto& on_loaded,
                                 const auto& on_result,
                                 const auto& on_progress) -> StatusOr<ServingSummary> {
    EXPECT_FALSE(on_progress);  // no terminal
    EXPECT_EQ(options.trace, DefaultTrace());
    on_loaded({"precis", "t5-small", "weights bf16", 0.5});
    on_result(ResultOf(0));
    for (const double rate : options.rates) on_result(ResultOf(rate));
    if (!status.ok()) return status;
    return summary;
  };
  const int exit_code = RunBenchServing({}, rates, trace, {}, bench, out, err);
  return {exit_code, out.str(), err.str()};
}

TEST(ParseRates, ReadsRatesAndNamesWhatIsNone) {
  EXPECT_EQ(ParseRates("1,2.5,40").value(), (std::vector<double>{1, 2.5, 40}));
  EXPECT_TRUE(ParseRates("").value().empty());
  for (const char* text : {"x", "1,", "0", "-1", "1;2", "1,,2", "1x"}) {
    EXPECT_THAT(std::string(ParseRates(text).status().message()), HasSubstr("--rates")) << text;
  }
}

TEST(BenchServingCommand, PrintsALineForTheTraceAloneForEachRateAndForTheWhole) {
  const Outcome outcome = Serve("2,4", "",
                                {.highest_per_s = 3,
                                 .offline_per_s = 8,
                                 .limit_per_s = 12,
                                 .limit_rate = 6,
                                 .limit_unloaded_p95_s = 0.25});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.err, "");
  std::istringstream lines(outcome.out);
  std::vector<std::string> text;
  for (std::string line; std::getline(lines, line);) text.push_back(line);
  ASSERT_EQ(text.size(), 4u);
  EXPECT_EQ(nlohmann::json::parse(text[0])["kind"], "unloaded");
  EXPECT_EQ(nlohmann::json::parse(text[0])["load_s"], 0.5);
  EXPECT_EQ(
      text[2],
      R"({"engine":"precis","model":"t5-small","numerics":"weights bf16","kind":"rate",)"
      R"("offered_per_s":4.0,"achieved_per_s":3.6,"requests":40,"unfinished":0,)"
      R"("wall_s":20.123,"total_p50_ms":100.0,"total_p95_ms":200.0,"total_p99_ms":300.0,)"
      R"("total_mean_ms":110.0,"first_token_p50_ms":10.0,"first_token_p95_ms":20.0,)"
      R"("first_token_p99_ms":30.0,"inter_token_p50_ms":1.0,"inter_token_p95_ms":2.0,)"
      R"("inter_token_p99_ms":3.0,"p95_over_unloaded":2.5,"slowdown_p95":2.75,"holds":true})");
  EXPECT_EQ(text[3],
            R"({"engine":"precis","model":"t5-small","numerics":"weights bf16","kind":"summary",)"
            R"("highest_per_s":3.0,"offline_per_s":8.0,"limit_per_s":12.0,"limit_rate":6.0,)"
            R"("limit_unloaded_p95_ms":250.0,"fraction_of_limit":0.5})");
}

TEST(BenchServingCommand, HasNoSummaryWithoutSearchAndLimit) {
  EXPECT_THAT(Serve("2", "", {}).out, testing::Not(HasSubstr("summary")));
}

TEST(BenchServingCommand, WordsThatMakeNoSenseAreOfTheUsage) {
  const Outcome rates = Serve("1,two", "", {});
  EXPECT_EQ(rates.exit_code, kExitUsage);
  EXPECT_THAT(rates.err, HasSubstr("'two' is no rate"));
  const Outcome trace = Serve("1", "no/such.csv", {});
  EXPECT_EQ(trace.exit_code, kExitUsage);
  EXPECT_THAT(trace.err, HasSubstr("no/such.csv"));
  EXPECT_EQ(rates.out + trace.out, "");
}

TEST(BenchServingCommand, SaysWhatWentWrong) {
  const Outcome outcome = Serve("1", "", {}, Unavailable("the server is gone"));
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.err, "precis: the server is gone\n");
}

ThroughputResult OfflineResult(bool limit) {
  ThroughputResult r;
  r.model = "t5-small";
  r.dtype = "bf16";
  r.kv_type = "int8";
  r.device = "cpu";
  r.isa = "amx";
  r.threads = 2;
  r.batch = 16;
  r.documents = 64;
  r.source_tokens = 12670;
  r.new_tokens = 2848;
  r.total_s = 2;
  r.encode_s = 1;
  r.mean_batch = 11.3912;
  r.load_s = 0.5;
  r.weight_bytes = 1000;
  r.pool_bytes = 2000;
  r.peak_resident_bytes = 3000;
  if (limit) {
    r.encode_limit_s = 0.5;
    r.limit_s = 1;
    r.profile = {{"decode", "gemm 512x512", 10, 0.002, 0.00125, 0.001, 20'000'000, 4'000'000}};
  }
  return r;
}

TEST(BenchThroughputCommand, PrintsOneLine) {
  EXPECT_EQ(
      ThroughputJson(OfflineResult(true)),
      R"({"engine":"precis","type":"bf16","model":"t5-small","threads":2,"batch":16,)"
      R"("documents":64,"source_tokens":12670,"new_tokens":2848,"encode_s":1.0,"wall_s":2.0,)"
      R"("documents_per_s":32.0,"source_tokens_per_s":6335.0,"new_tokens_per_s":1424.0,)"
      R"("mean_batch":11.39,"kv_type":"int8","device":"cpu","isa":"amx",)"
      R"("encode_limit_s":0.5,"limit_s":1.0,"fraction_of_limit":0.5,"peak_resident_bytes":3000,"pool_bytes":2000,)"
      R"("weight_bytes":1000,"load_s":0.5})");
  EXPECT_THAT(ThroughputJson(OfflineResult(false)), testing::Not(HasSubstr("limit")));
}

TEST(BenchThroughputCommand, PutsTheProfileOnStandardErrorAndErrorsToo) {
  const auto run = [](const std::string& trace, const BenchLook& look, const Status& status) {
    std::ostringstream out, err;
    const ThroughputBench bench = [&](const ThroughputOptions& options,
                                      const auto& on_progress) -> StatusOr<ThroughputResult> {
      EXPECT_EQ(options.trace, DefaultTrace());
      if (on_progress) on_progress({0, 1, "64 documents", "run 1 of 1", 0.5});
      if (!status.ok()) return status;
      return OfflineResult(true);
    };
    const int exit_code = RunBenchThroughput({}, trace, look, bench, out, err);
    return Outcome{exit_code, out.str(), err.str()};
  };
  const Outcome good = run("", {.profile = true, .terminal = true}, OkStatus());
  EXPECT_EQ(good.exit_code, kExitOk);
  EXPECT_EQ(good.out, ThroughputJson(OfflineResult(true)) + "\n");
  EXPECT_THAT(good.err, HasSubstr("[############............] 64 documents: run 1 of 1"));
  EXPECT_THAT(good.err, HasSubstr("decode  gemm 512x512"));
  EXPECT_EQ(run("no/such.csv", {}, OkStatus()).exit_code, kExitUsage);
  const Outcome bad = run("", {}, NotFound("x/config.json: no such file"));
  EXPECT_EQ(bad.exit_code, kExitFailed);
  EXPECT_EQ(bad.err, "precis: x/config.json: no such file\n");
}

}  // namespace
}  // namespace precis::cli
