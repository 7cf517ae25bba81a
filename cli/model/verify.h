// `precis verify`: a checkpoint's golden.json through the engine, and what came of it. Owner: main,
// or a test with a verifier of its own. Thread rule: one thread.
#pragma once

#include <functional>
#include <iosfwd>

#include "tools/verify/verify.h"

namespace precis::cli {

using Verifier = std::function<StatusOr<VerifyReport>(
    const VerifyOptions&, const std::function<void(const VerifyCheck&)>&)>;

// A line for each failed check (all: for every check) as it is done, then "N passed, N failed".
// Returns the exit code: success needs at least one check, and none that failed.
int RunVerify(const VerifyOptions& options, bool all, const Verifier& verify, std::ostream& out,
              std::ostream& err);

}  // namespace precis::cli
