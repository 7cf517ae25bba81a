// The options of one text, as tensors and parameters say them, to precis.v1.GenerationOptions, so
// that both services check and resolve them alike.
//
// Called by server/open_inference/request.cc. Thread rule: functions without state.
#pragma once

#include <string_view>

#include "common/status.h"
#include "precis/v1/summarization.pb.h"
#include "server/open_inference/tensors.h"

namespace precis {

// Sets `input`'s field. INVALID_ARGUMENT naming the input when the value is not of its kind.
Status SetInferOption(const InferInput& input, const InferValue& value,
                      precis::v1::GenerationOptions* options);
// A value that must be yes or no.
StatusOr<bool> ToSwitch(std::string_view name, const InferValue& value);
// A value that must be a whole number from `least` to `most`.
StatusOr<uint64_t> ToWhole(std::string_view name, const InferValue& value, uint64_t least,
                           uint64_t most);
// Bytes that must be text: valid UTF-8.
Status CheckText(std::string_view name, const std::string& bytes);

}  // namespace precis
