// Who goes first when requests wait. Thread rule: a value.
#pragma once

#include <cstddef>
#include <cstdint>

namespace precis {

// From first to last.
enum class Priority : uint8_t { kHigh, kNormal, kLow };
inline constexpr size_t kNumPriorities = 3;

}  // namespace precis
