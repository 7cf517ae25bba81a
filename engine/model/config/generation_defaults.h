// What a checkpoint says about generation: generation_config.json, then
// config.json's task_specific_params.summarization; of two, the first that says a key wins.
// Called at load; values, no state.
#pragma once

#include <string>

#include "common/status.h"
#include "engine/api/generation.h"

namespace precis {

// A missing generation_config.json is fine: then, as in transformers, the generation keys at the
// top of config.json stand in for it. A value of the wrong type or sign is an error that names file
// and key; keys we cannot honour end in GenerationDefaults::unsupported.
StatusOr<GenerationDefaults> LoadGenerationDefaults(const std::string& dir);

}  // namespace precis
