// What the Open Inference Protocol says of our model before it runs: tensors, configuration,
// statistics.
//
// Called by the service. Thread rule: functions without state.
#pragma once

#include "engine/api/model_info.h"
#include "inference/model_config.pb.h"
#include "inference/open_inference.pb.h"
#include "server/calls/core.h"
#include "server/config/options.h"

namespace precis {

void FillModelMetadata(const ModelInfo& model, inference::ModelMetadataResponse* out);
void FillModelConfig(const ModelInfo& model, const ServerOptions& options,
                     inference::ModelConfig* out);
void FillModelStatistics(ServerCore& core, inference::ModelStatistics* out);

}  // namespace precis
