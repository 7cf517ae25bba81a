// The numbers that DGQA keeps beside its keys' weights: a norm of each KV head.
// Called by the weight loader and by inspect. Thread rule: functions, no state.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/attention_variant.h"
#include "engine/model/config/model_config.h"

namespace precis {

// "cached_norm" of the decoder attention at `prefix`; empty where the variant has none. The error
// names file and tensor where it is missing, of another shape, not finite or negative.
StatusOr<std::vector<float>> ReadCachedNorm(Checkpoint& checkpoint,
                                            const ResolvedAttention& attention,
                                            const std::string& prefix);

}  // namespace precis
