// `precis bench latency` below its words: what a case reports, and what is refused.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/bench/latency.h"

namespace precis {
namespace {

using testing::HasSubstr;

#if PRECIS_TEST_CPU_BACKEND
constexpr const char* kBackend = "auto";  // as a user who says nothing
#else
constexpr const char* kBackend = "ref";
#endif

LatencyOptions OptionsFor(const std::string& dir, const std::string& cases) {
  LatencyOptions options;
  options.engine.model_dir = dir;
  options.engine.device = kBackend;
  options.engine.dtype = "f32";
  options.engine.threads = 1;
  options.cases = ParseBenchCases(cases).value();
  options.source_tokens = 20;
  options.new_tokens = 6;
  return options;
}

std::string ErrorOf(const LatencyOptions& options) {
  return std::string(BenchLatency(options, {}, {}).message());
}

std::vector<LatencyResult> ResultsOf(const LatencyOptions& options) {
  std::vector<LatencyResult> results;
  const Status status =
      BenchLatency(options, [&](const LatencyResult& r) { results.push_back(r); }, {});
  EXPECT_TRUE(status.ok()) << status;
  return results;
}

uint64_t CountOf(const LatencyResult& result, const std::string& phase, const std::string& op) {
  for (const OpProfile& row : result.profile) {
    if (row.phase == phase && row.op == op) return row.count;
  }
  return 0;
}

TEST(ParseBenchCases, ReadsBatchAndBeams) {
  EXPECT_EQ(ParseBenchCases("1x1,32x1,1x4").value(),
            (std::vector<BenchCase>{{1, 1}, {32, 1}, {1, 4}}));
}

TEST(ParseBenchCases, NamesThePartThatIsNone) {
  for (const char* text : {"", "1", "1x", "x4", "0x1", "1x0", "1x1,", "1x1;2x2", "ax1", "-1x1",
                           "1x1x1", "99999999999x1"}) {
    const auto cases = ParseBenchCases(text);
    ASSERT_FALSE(cases.ok()) << text;
    EXPECT_THAT(std::string(cases.status().message()), HasSubstr("is no case")) << text;
  }
  EXPECT_THAT(std::string(ParseBenchCases("1x1,4y2").status().message()), HasSubstr("'4y2'"));
}

TEST(BenchLatency, ReportsTheCaseItRan) {
  const std::vector<LatencyResult> results =
      ResultsOf(OptionsFor("tests/golden/gqa_g2", "1x1,3x1"));
  ASSERT_EQ(results.size(), 2u);
  const LatencyResult& r = results[0];
  EXPECT_EQ(r.of, (BenchCase{1, 1}));
  EXPECT_EQ(r.model, "gqa_g2");
  EXPECT_EQ(r.dtype, "f32");
  EXPECT_EQ(r.kv_type, "f32");
  EXPECT_EQ(r.threads, 1u);
  EXPECT_NE(r.device, "auto");
  EXPECT_EQ(r.source_tokens, 20u);
  EXPECT_EQ(r.new_tokens, 6u);
  EXPECT_GT(r.encode_s, 0);
  EXPECT_GT(r.total_s, r.encode_s);
  EXPECT_GT(r.step_ms(), 0);
  EXPECT_GT(r.encode_limit_s, 0);
  EXPECT_GT(r.limit_s, r.encode_limit_s);
  EXPECT_DOUBLE_EQ(r.fraction_of_limit(), r.limit_s / r.total_s);
  EXPECT_GT(r.resident_bytes, r.weight_bytes);
  EXPECT_EQ(results[1].of, (BenchCase{3, 1}));
  EXPECT_EQ(results[1].pool_bytes, 3 * r.pool_bytes);  // as large as the case, no larger
}

TEST(LatencyResult, HoldsItsBoundToTheByte) {
  LatencyResult r;
  r.weight_bytes = 1000;
  r.pool_bytes = 200;
  r.workspace_bytes = 30;
  r.resident_bytes = 1230 + kMostOtherBytes;
  EXPECT_EQ(r.resident_bound_bytes(), r.resident_bytes);
  EXPECT_TRUE(r.resident_holds());
  ++r.resident_bytes;
  EXPECT_FALSE(r.resident_holds());
}

// Sanitizers keep what is freed for a while, and shadows of all.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(BenchLatency, LeavesNothingOfACaseToTheNext) {
  LatencyOptions options = OptionsFor("models/demo", "1x1,1x1,1x1");
  options.repeats = 1;
  const std::vector<LatencyResult> results = ResultsOf(options);
  ASSERT_EQ(results.size(), 3u);
  for (const LatencyResult& r : results) {
    EXPECT_GT(r.workspace_bytes, 0u);
    EXPECT_TRUE(r.resident_holds()) << r.resident_bytes;
  }
  // Less than the weights: those of an engine that is gone would show.
  EXPECT_LT(results[2].resident_bytes, results[0].resident_bytes + results[0].weight_bytes / 2);
}
#endif

TEST(BenchLatency, DecodesExactlyTheTokensAskedFor) {
  const LatencyResult r = ResultsOf(OptionsFor("tests/golden/gqa_g2", "1x1"))[0];
  // 2 layers each; one slice.
  EXPECT_EQ(CountOf(r, "encode", "encoder attention"), 2u);
  EXPECT_EQ(CountOf(r, "encode", "outside ops"), 1u);  // documents
  EXPECT_EQ(CountOf(r, "decode", "reduce scores"), 6u);
  EXPECT_EQ(CountOf(r, "decode", "cross attention"), 12u);
  EXPECT_EQ(CountOf(r, "decode", "outside ops"), 6u);  // steps
}

TEST(BenchLatency, EncodesEveryDocumentOfEveryRun) {
  uint64_t steps = 0;
  // The first document may have a step before the others are there. A busy machine may keep all of
  // them apart, but not every time.
  for (int i = 0; i < 20 && (steps == 0 || steps > 7); ++i) {
    const LatencyResult r = ResultsOf(OptionsFor("tests/golden/gqa_g2", "5x1"))[0];
    EXPECT_EQ(CountOf(r, "encode", "outside ops"), 5u);
    steps = CountOf(r, "decode", "outside ops");
    EXPECT_GE(steps, 6u);
  }
  EXPECT_LE(steps, 7u) << "documents are encoded first";
}

TEST(BenchLatency, SearchesWithBeams) {
  const LatencyResult r = ResultsOf(OptionsFor("tests/golden/gqa_g2", "2x3"))[0];
  EXPECT_GE(CountOf(r, "decode", "copy pages"), 1u);
}

TEST(BenchLatency, ItsProfileAddsUp) {
  const LatencyResult r = ResultsOf(OptionsFor("tests/golden/gqa_g2", "2x1"))[0];
  double limit = 0;
  for (const OpProfile& op : r.profile) {
    EXPECT_GE(op.seconds, 0) << op.phase << " " << op.op;
    EXPECT_LE(op.best_seconds, op.seconds * (1 + 1e-9)) << op.phase << " " << op.op;
    if (op.op == "outside ops") {
      EXPECT_EQ(op.limit_seconds, 0);
    } else {
      EXPECT_GT(op.limit_seconds, 0) << op.op;
    }
    limit += op.limit_seconds;
  }
  EXPECT_NEAR(limit, r.limit_s, 1e-9 * limit);
  ASSERT_FALSE(r.profile.empty());
  EXPECT_EQ(r.profile.back().phase, "engine");
  EXPECT_FALSE(r.machine.empty());
}

TEST(BenchLatency, NeedsNoTokenizer) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "precis_bench_no_tokenizer";
  fs::remove_all(dir);
  fs::create_directories(dir);
  for (const char* file : {"config.json", "generation_config.json", "model.safetensors"}) {
    fs::copy_file(fs::path("tests/golden/gqa_g2") / file, dir / file);
  }
  EXPECT_EQ(ResultsOf(OptionsFor(dir.string(), "1x1")).size(), 1u);
  fs::remove_all(dir);
}

TEST(BenchLatency, TellsHowFarItIs) {
  std::vector<BenchProgress> heard;
  ASSERT_TRUE(
      BenchLatency(OptionsFor("tests/golden/gqa_g2", "1x1,2x1"), {}, [&](const BenchProgress& p) {
        heard.push_back(p);
      }).ok());
  ASSERT_GE(heard.size(), 8u);
  EXPECT_EQ(heard.front().what, "loading");
  for (size_t i = 0; i < heard.size(); ++i) {
    EXPECT_EQ(heard[i].num_cases, 2u);
    EXPECT_GE(heard[i].fraction, 0);
    EXPECT_LE(heard[i].fraction, 1);
    if (i > 0 && heard[i].case_index == heard[i - 1].case_index) {
      EXPECT_GE(heard[i].fraction, heard[i - 1].fraction - 1e-12);
    }
  }
  EXPECT_EQ(heard.back().case_index, 1u);
}

TEST(BenchLatency, RefusesWhatCannotBeRun) {
  const std::string dir = "tests/golden/gqa_g2";
  EXPECT_THAT(ErrorOf(OptionsFor("no/such/model", "1x1")), HasSubstr("no/such/model"));
  EXPECT_THAT(ErrorOf(OptionsFor("", "1x1")), HasSubstr("--model"));
  EXPECT_THAT(ErrorOf(OptionsFor(dir, "1x17")), HasSubstr("17 beams, the most is 16"));
  EXPECT_THAT(ErrorOf(OptionsFor(dir, "1x1,2000x1")), HasSubstr("2000 rows, the most is 1024"));
  LatencyOptions options = OptionsFor(dir, "1x1");
  options.engine.dtype = "f64";
  EXPECT_THAT(ErrorOf(options), HasSubstr("--dtype is 'f64'"));
  options = OptionsFor(dir, "1x1");
  options.engine.kv_dtype = "f8";
  EXPECT_THAT(ErrorOf(options), HasSubstr("--kv-dtype is 'f8'"));
  options = OptionsFor(dir, "1x1");
  options.source_tokens = 0;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--source is 0"));
  options = OptionsFor(dir, "1x1");
  options.new_tokens = 1u << 20;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--new is 1048576"));
  options = OptionsFor(dir, "1x1");
  options.repeats = 0;
  EXPECT_THAT(ErrorOf(options), HasSubstr("--repeats is 0"));
  // 1024 documents of 131072 tokens, 256 bytes a token: 34 GB of pages at least.
  options = OptionsFor("models/demo", "1024x1");
  options.source_tokens = 1u << 17;
  EXPECT_THAT(ErrorOf(options), HasSubstr("bytes of pages, this device has"));
}

}  // namespace
}  // namespace precis
