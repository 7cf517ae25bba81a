// The few names of Python that a pickle of tensors may call. They are looked up in a table and
// never resolved: no code is run. Called by PickleReader and TorchCalls. Thread rule: constants.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/model/checkpoint/file/tensor_file.h"

namespace precis {

enum class GlobalRole : uint8_t {
  kOrderedDict,
  kRebuildTensor,     // (storage, offset, shape, strides)
  kRebuildTensorV2,   // the same, requires_grad, hooks[, metadata]
  kRebuildParameter,  // (tensor, requires_grad, hooks)
  kStorage,
};

struct TorchGlobal {
  std::string_view module;
  std::string_view name;
  GlobalRole role;
  // Of storages: their type, as safetensors names it.
  std::string_view dtype_name = {};
  StoredType dtype = StoredType::kOther;
  uint64_t element_bytes = 0;
};

std::span<const TorchGlobal> TorchGlobals();

}  // namespace precis
