// The JSON header of a safetensors file, taken for a lie until checked: it comes from the network
// more often than from a friend. Called by OpenSafetensors; values, no state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

constexpr uint64_t kMaxSafetensorsHeaderBytes =
    100'000'000;  // the limit of the format's own reader

// Checks what the format promises: known types, bytes = shape x type, offsets that cover
// `data_bytes` without overlap or hole, no name twice. The error names the tensor, not the file.
// `begin` and `end` count from the first byte of the data. Sorted by name.
StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(std::string_view json,
                                                          uint64_t data_bytes);

}  // namespace precis
