// Ranges of a benchmark's flags. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/status.h"
#include "fmt/format.h"

namespace precis {

inline Status CheckRange(std::string_view flag, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return OkStatus();
  return InvalidArgument(fmt::format("{} is {}, must be {} to {}", flag, value, least, most));
}

}  // namespace precis
