// What the engine says to messages of the Open Inference Protocol.
//
// Called by the reactors. Thread rule: functions without state.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "common/status.h"
#include "engine/api/model_info.h"
#include "engine/request/summarizer.h"
#include "inference/open_inference.pb.h"
#include "server/open_inference/request.h"

namespace precis {

// All outputs that were asked for. `sent` bytes of the first text have gone out as pieces.
inference::ModelInferResponse ToInferResponse(const InferRequest& request,
                                              const std::vector<Summary>& summaries, size_t sent,
                                              const ModelInfo& model);
// A piece of the text: text_output alone, if it was asked for.
inference::ModelInferResponse ToInferPiece(const InferRequest& request, const std::string& text,
                                           const ModelInfo& model);
// Names and no outputs: the end of a stream, or what goes with a failure.
inference::ModelInferResponse ToInferNames(const std::string& id, const ModelInfo& model);
// On a stream every response says whether it is the last one to its request.
void SetFinalResponse(bool final, inference::ModelInferResponse* out);
// A failure on a stream, with the reason as a parameter.
inference::ModelStreamInferResponse ToInferFailure(const std::string& id, const Status& status,
                                                   const ModelInfo& model);

}  // namespace precis
