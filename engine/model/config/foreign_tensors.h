// Tensors of another family than the one that config.json names: two models in one directory, or
// the config of another model. Called at load; a function, no state.
#pragma once

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace precis {

// INVALID_ARGUMENT, naming file and tensor, where a first layer of another family is there.
Status RefuseOtherFamilies(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace precis
