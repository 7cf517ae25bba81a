// torch's format before 1.6: pickles one behind the other (a magic number, the protocol, the
// machine, the state dict, the keys of the storages), then each storage behind the number of its
// elements.
//
// Called by OpenTorchFile. Thread rule: a function, no state.
#pragma once

#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/file_bytes.h"
#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

// The error names the tensor, not the file.
StatusOr<std::vector<TensorEntry>> ReadLegacyTensors(const FileBytes& file);

}  // namespace precis
