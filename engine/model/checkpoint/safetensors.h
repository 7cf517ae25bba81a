// Opens one safetensors file, with its header checked. The format (8 bytes of header length, JSON,
// data without holes) is github.com/huggingface/safetensors.
//
// Called by Checkpoint. Thread rule: a function, no state.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

// The error names the file and, where there is one, the tensor.
StatusOr<std::unique_ptr<TensorFile>> OpenSafetensors(const std::string& path);

}  // namespace precis
