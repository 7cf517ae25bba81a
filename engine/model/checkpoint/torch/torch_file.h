// Opens one pytorch_model.bin: torch's zip format (1.6 and later) or the one before it. The pickle
// in it is read by PickleReader, which runs nothing.
//
// Called by Checkpoint. Thread rule: a function, no state.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

// The error names the file and, where there is one, the tensor.
StatusOr<std::unique_ptr<TensorFile>> OpenTorchFile(const std::string& path);

}  // namespace precis
