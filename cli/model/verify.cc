#include "cli/model/verify.h"

#include <ostream>

#include "cli/base/command.h"
#include "fmt/format.h"

namespace precis::cli {

int RunVerify(const VerifyOptions& options, bool all, const Verifier& verify, std::ostream& out,
              std::ostream& err) {
  const auto print = [all, &out](const VerifyCheck& check) {
    if (check.passed && !all) return;
    out << fmt::format("{} {}: {}\n", check.passed ? "passed" : "FAILED", check.name, check.detail)
        << std::flush;
  };
  const StatusOr<VerifyReport> report = verify(options, print);
  if (!report.ok()) {
    err << "precis: " << std::string(report.status().message()) << "\n";
    out << "0 passed, 0 failed\n" << std::flush;
    return kExitFailed;
  }
  const uint32_t passed = report->passed();
  const uint32_t failed = report->failed();
  if (passed + failed == 0) err << "precis: golden.json holds no case\n";
  out << fmt::format("{} passed, {} failed\n", passed, failed) << std::flush;
  return passed > 0 && failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace precis::cli
