// What the flags --dtype and --kv-dtype mean.
//
// Called while loading and by inspect. Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace precis {

struct LoadTypes {
  WeightTypes weights;
  DType kv;
};

// f32, bf16 or int8; auto, where there is an automatic choice. INVALID_ARGUMENT naming the flag.
StatusOr<DType> ParseDType(std::string_view flag, std::string_view name,
                           std::optional<DType> automatic);

// What the backend computes in without emulation: bf16 or f32.
DType NativeDType(const Backend& backend);

// Automatic weights are the native type, automatic keys and values are as the weights; in int8 the
// native type is that of the weights which stay unrounded, and of automatic keys and values.
StatusOr<LoadTypes> ResolveTypes(std::string_view dtype, std::string_view kv_dtype, DType native);

}  // namespace precis
