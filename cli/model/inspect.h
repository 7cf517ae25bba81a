// `precis inspect`: what a checkpoint is and what serving it would cost, as text. Owner: main, or a
// test. Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/inspect/inspect.h"

namespace precis::cli {

// The load that memory is counted for.
struct InspectLoad {
  uint64_t documents = 64;
  uint64_t source_tokens = 512;
  uint64_t new_tokens = 128;
};

std::string FormatInspection(const Inspection& inspection, const InspectLoad& load);

// "2 in every layer", or "2 4 2 2, by layer".
std::string HeadsByLayer(const std::vector<uint32_t>& kv_heads);

}  // namespace precis::cli
