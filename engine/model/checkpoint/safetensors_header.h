// The JSON header of a safetensors file, taken for a lie until checked: it comes from the network
// more often than from a friend. Called by SafetensorsFile; values, no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace precis {

enum class StoredType : uint8_t { kF32, kBf16, kF16, kOther };

struct TensorEntry {
  std::string name;
  std::string dtype_name;  // as stored: "F32"
  StoredType dtype = StoredType::kOther;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // of the data section
  uint64_t end = 0;

  uint64_t num_bytes() const { return end - begin; }
};

constexpr uint64_t kMaxSafetensorsHeaderBytes =
    100'000'000;  // the limit of the format's own reader

// Checks what the format promises: known types, bytes = shape x type, offsets that cover
// `data_bytes` without overlap or hole, no name twice. The error names the tensor, not the file.
// Sorted by name.
StatusOr<std::vector<TensorEntry>> ParseSafetensorsHeader(std::string_view json,
                                                          uint64_t data_bytes);

}  // namespace precis
