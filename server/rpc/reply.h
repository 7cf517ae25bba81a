// What the engine says to messages of the wire.
//
// Called by the reactors. Thread rule: functions without state.
#pragma once

#include <string>

#include "engine/api/model_info.h"
#include "engine/engine.h"
#include "engine/request/summarizer.h"
#include "precis/v1/summarization.pb.h"

namespace precis {

precis::v1::Summary ToSummary(const Summary& summary, const ModelInfo& model,
                              const std::string& request_id);
precis::v1::Model ToModel(const Engine& engine);

}  // namespace precis
