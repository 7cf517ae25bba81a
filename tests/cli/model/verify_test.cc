#include "cli/model/verify.h"

#include <sstream>

#include "cli/base/command.h"
#include "gtest/gtest.h"

namespace precis::cli {
namespace {

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome OutcomeOf(const StatusOr<VerifyReport>& report, bool all = false) {
  std::ostringstream out, err;
  const auto verify = [&](const VerifyOptions&,
                          const std::function<void(const VerifyCheck&)>& on_check) {
    if (report.ok()) {
      for (const VerifyCheck& check : report->checks) on_check(check);
    }
    return report;
  };
  const int exit_code = RunVerify({}, all, verify, out, err);
  return {exit_code, out.str(), err.str()};
}

const VerifyCheck kGood{"short: greedy", true, "16 ids"};
const VerifyCheck kBad{"long: encoder", false, "off by 0.5 at 3"};

TEST(VerifyCommand, SucceedsWhenAllPassed) {
  const Outcome outcome = OutcomeOf(VerifyReport{{kGood, kGood}});
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.out, "2 passed, 0 failed\n");
}

TEST(VerifyCommand, PrintsALineForEachFailure) {
  const Outcome outcome = OutcomeOf(VerifyReport{{kGood, kBad}});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.out, "FAILED long: encoder: off by 0.5 at 3\n1 passed, 1 failed\n");
}

TEST(VerifyCommand, PrintsEveryCheckOnDemand) {
  EXPECT_EQ(OutcomeOf(VerifyReport{{kGood}}, true).out,
            "passed short: greedy: 16 ids\n1 passed, 0 failed\n");
}

TEST(VerifyCommand, NoCaseIsNoSuccess) {
  const Outcome outcome = OutcomeOf(VerifyReport{});
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.out, "0 passed, 0 failed\n");
}

TEST(VerifyCommand, ACheckpointThatCannotBeRunIsNoSuccess) {
  const Outcome outcome = OutcomeOf(NotFound("x/golden.json: no such file"));
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.err, "precis: x/golden.json: no such file\n");
  EXPECT_EQ(outcome.out, "0 passed, 0 failed\n");
}

}  // namespace
}  // namespace precis::cli
