// From what a pickle holds to entries of a TensorFile: names, and tensors whose shape, strides,
// offset and storage fit each other and the file. Called by the readers of both formats. Thread
// rule: a function, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/file/tensor_file.h"
#include "engine/model/checkpoint/torch/pickle_objects.h"

namespace precis {

// Where a storage's elements lie in the file.
struct StoragePlace {
  uint64_t begin = 0;
  uint64_t bytes = 0;
};

// `places[i]` is of objects.storages()[i], nullopt if the file lacks it. The error names the
// tensor.
StatusOr<std::vector<TensorEntry>> TensorsOf(const PickleObjects& objects, PickleValue state_dict,
                                             std::span<const std::optional<StoragePlace>> places);

}  // namespace precis
