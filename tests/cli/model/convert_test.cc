#include "cli/model/convert.h"

#include <sstream>

#include "cli/base/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome OutcomeOf(const StatusOr<ConvertReport>& report, const std::string& fold = "",
                  bool terminal = false) {
  ConvertOptions options;
  options.destination = "out";
  options.fold = fold;
  std::ostringstream out, err;
  const auto convert = [&](const ConvertOptions& given) {
    if (given.on_progress) given.on_progress({1, 2, "writing shared.weight", 0.5});
    return report;
  };
  const int exit_code = RunConvert(options, terminal, convert, out, err);
  return {exit_code, out.str(), err.str()};
}

ConvertReport Grouped() {
  ConvertReport report;
  report.source_variant = "mha";
  report.variant = "gqa";
  report.self_kv_heads = {2, 2};
  report.cross_kv_heads = {2, 1};
  report.num_heads = 8;
  report.kv_dtype = "bf16";
  report.source_token_bytes = 192;
  report.new_token_bytes = 256;
  report.mha_token_bytes = 1024;
  return report;
}

TEST(ConvertCommand, TellsWhatWasMadeAndWhatItCosts) {
  const Outcome outcome = OutcomeOf(Grouped());
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out,
            "written        out\n"
            "attention      gqa, was mha\n"
            "query heads    8\n"
            "KV heads self  2 in every layer\n"
            "KV heads cross 2 1, by layer\n"
            "source token   192 B of keys and values in bf16 (MHA: 1.0 KiB)\n"
            "new token      256 B\n");
}

TEST(ConvertCommand, SaysThatGoldensAreNotCopiedAndWhy) {
  ConvertReport report = Grouped();
  report.not_copied = {"README.md", "golden.json"};
  EXPECT_THAT(OutcomeOf(report).out, AllOf(HasSubstr("not copied     README.md\n"),
                                           HasSubstr("golden.json: its answers are the source's")));
  EXPECT_THAT(OutcomeOf(report, "gqa").out, HasSubstr("golden.json: folding changes no answer"));
}

TEST(ConvertCommand, PrintsTheCurveAtWholeNumbersOfHeads) {
  ConvertReport report = Grouped();
  report.curve = {{1, 64, 0.5, 0.25, 0.6, 0.3}, {1.5, 96, 0.4, 0.2}, {2, 128, 0.125, 0}};
  const std::string out = OutcomeOf(report).out;
  EXPECT_THAT(out, AllOf(HasSubstr("50.00 %     60.00 %     25.00 %     30.00 %\n"),
                         HasSubstr("12.50 %"), HasSubstr("qcqa_curve.svg")));
  EXPECT_THAT(out, Not(HasSubstr("40.00 %")));
}

TEST(ConvertCommand, FailureIsOneLineAndAnExitCode) {
  const Outcome outcome = OutcomeOf(InvalidArgument("out: is there already"));
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "precis: out: is there already\n");
}

TEST(ConvertCommand, DrawsABarOnATerminalOnly) {
  const std::string err = OutcomeOf(Grouped(), "", true).err;
  EXPECT_THAT(err, HasSubstr("[##################......] convert: writing shared.weight"));
}

}  // namespace
}  // namespace precis::cli
