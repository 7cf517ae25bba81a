// Which instruction set is used: what the machine and its OS have, capped by the operator's choice.
//
// Called once by MakeCpuBackend. Thread rule: oneDNN's cap is one for the process; the first
// backend sets it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace precis {

struct Isa {
  std::string name;         // avx2, avx512, avx512_bf16, amx
  int64_t hwy_targets = 0;  // what our own kernels may use
};

// Caps oneDNN as well. INVALID_ARGUMENT naming the ISA when it is unknown or the machine lacks it,
// FAILED_PRECONDITION when oneDNN was already started with another one.
StatusOr<Isa> ChooseIsa(std::string_view option);

}  // namespace precis
