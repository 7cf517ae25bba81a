// Checkpoints of other quantizers, which must not be served as if their weights were plain ones.
// Called at load; a function, no state.
#pragma once

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"

namespace precis {

// UNIMPLEMENTED, naming the tensor, for one that says how another is to be read: beside a weight in
// its own module (`wo.weight_scale`, `wo.weight.absmax`, `q.lora_A.weight`; no family has such; a
// `bias` is only left out, as in transformers), or a
// scale or zero point anywhere. A quantization_config alone, with plain weights, is none: it is
// known from the types of tensors whether they are.
Status RefuseQuantized(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace precis
