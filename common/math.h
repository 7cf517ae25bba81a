// Small arithmetic that several folders need.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>

namespace precis {

// a / b, rounded up; a + b - 1 must not overflow.
constexpr size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

}  // namespace precis
