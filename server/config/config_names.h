// Which option was meant by a name that is none.
//
// Called by server/config/config.cc. Thread rule: pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace precis {

// "; did you mean --max-batch?": of `names` ("--max-batch", "PRECIS_MAX_BATCH" or "max-batch",
// written as `typed` is) the one that does what `typed` does in other servers or did in ours, else
// the nearest one. Empty where there is none.
std::string DidYouMeanOption(std::string_view typed, std::span<const std::string> names);

}  // namespace precis
