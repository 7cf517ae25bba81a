// From a checkpoint directory to a model that can run, in the order in which things fail cheapest:
// options, config, tensors' headers, backend, weights, memory.
//
// Called by the engine, benchmarks and verification. Thread rule: functions, no state; one thread.
#pragma once

#include <memory>

#include "common/status.h"
#include "engine/api/engine_options.h"
#include "engine/api/model_info.h"
#include "engine/run/step_runner.h"
#include "kernels/backend.h"

namespace precis {

struct LoadedModel {
  StepRunner::Parts parts;
  ModelInfo info;
  EngineOptions options;  // as they hold: WithinPositions()
};

// The options with the lengths that the model has positions for.
EngineOptions WithinPositions(EngineOptions options, const Architecture& arch);

// Reads and checks the checkpoint, folds and packs its weights, claims the pages and buffers, and
// times the model (engine/load/calibration.h). The error names the file and the tensor.
StatusOr<LoadedModel> LoadModel(const EngineOptions& options);
// The same on a backend of the caller's choice; options.device, isa and threads are not read.
StatusOr<LoadedModel> LoadModelOn(std::unique_ptr<Backend> backend, const EngineOptions& options);

}  // namespace precis
