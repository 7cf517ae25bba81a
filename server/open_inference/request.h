// A ModelInfer request to valid requests of the engine: every cheap refusal, each naming its tensor
// or parameter in the client's words.
//
// Called by the reactors, before places in the queue are asked for. Thread rule: no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/request/summarizer.h"
#include "engine/request/valid_request.h"
#include "inference/open_inference.pb.h"
#include "server/config/client.h"
#include "server/config/options.h"
#include "server/open_inference/tensors.h"

namespace precis {

inline constexpr char kModelVersion[] = "1";

// One or more texts with what their answers must look like.
struct InferRequest {
  std::string id;
  std::vector<ValidRequest> texts;
  std::vector<int64_t> shape;               // of each output: that of text_input
  std::vector<const InferOutput*> outputs;  // in the order they were asked for; never empty
  bool stream = false;                      // text as it grows; of one text only
  bool empty_final = false;                 // the end of a stream is a response of its own
  std::optional<Duration> timeout;          // from arrival to outcome
};

// Most texts that one request may hold.
uint32_t MaxInferTexts(const ServerOptions& options);

// NOT_FOUND about `name_field` or `version_field` unless it is our model or, with an empty version,
// any version of it.
Status CheckInferModel(const std::string& name, const std::string& version, const ModelInfo& model,
                       std::string_view name_field, std::string_view version_field);

// `client`: whose the texts are. `streams`: whether the method can answer in pieces.
StatusOr<InferRequest> ToInferRequest(const inference::ModelInferRequest& message,
                                      const Client& client, Summarizer& summarizer,
                                      const ServerOptions& options, bool streams);

// A refusal of ours about text number `index` of `count` in the words of this protocol: "text" is
// text_input, "options.num_beams" is beam_width.
Status InInferWords(const Status& status, size_t index, size_t count);

}  // namespace precis
