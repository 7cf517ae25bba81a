// Sizes in a config.json, as the families read them: bounds, and keys of two names. Used by the
// families' files alone. Functions, no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/json_file.h"
#include "kernels/row_kinds.h"

namespace precis {

// Far above every model there is (T5-XXL: d_ff 65,536 in v1.0, mT5's vocabulary 250,112), far below
// where a product of two overflows 64 bits.
inline constexpr uint32_t kMaxDimension = 1u << 24;
inline constexpr uint32_t kMaxHeads = 4096;
inline constexpr uint32_t kMaxLayers = 1024;

// A size: the key's own or its other name's, which transformers lets win; else the family's.
struct SizeKey {
  std::string_view key;
  std::string_view alias;  // as `key` where it has no other name
  uint32_t family;
  uint32_t max;
};

// The error names file and key: no whole number from 1 to the most, or null.
Status ReadSize(const JsonKeys& keys, const SizeKey& size, uint32_t* out);

// The activation of a name that transformers has ("gelu", "gelu_new", "relu", "silu", "swish",
// ...). UNIMPLEMENTED, naming file and key, for another.
StatusOr<ActivationKind> ActivationNamed(const JsonKeys& keys, std::string_view key,
                                         std::string_view name);

}  // namespace precis
