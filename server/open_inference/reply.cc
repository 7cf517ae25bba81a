#include "server/open_inference/reply.h"

#include <algorithm>

#include "server/observe/errors.h"
#include "server/observe/metrics.h"

namespace precis {
namespace {

bool Wants(const InferRequest& request, std::string_view name) {
  return std::any_of(request.outputs.begin(), request.outputs.end(),
                     [name](const InferOutput* output) { return name == output->name; });
}

void AddOutput(const InferOutput& output, const InferRequest& request,
               const std::vector<Summary>& summaries, size_t sent,
               inference::ModelInferResponse* out) {
  const std::string_view name = output.name;
  std::vector<std::string> texts;
  std::vector<uint32_t> counts;
  for (const Summary& summary : summaries) {
    const SummaryText& best = summary.sequences.front();
    if (name == kTextOutput) texts.push_back(best.text.substr(std::min(sent, best.text.size())));
    if (name == kFinishReasonOutput) texts.push_back(FinishReasonLabel(best.finish_reason));
    if (name == kSourceTokensOutput) counts.push_back(summary.source_tokens);
    if (name == kGeneratedTokensOutput) counts.push_back(summary.generated_tokens);
  }
  if (output.type == inference::TYPE_STRING) {
    AddTextOutput(name, request.shape, texts, out);
  } else {
    AddCountOutput(name, request.shape, counts, out);
  }
}

}  // namespace

inference::ModelInferResponse ToInferResponse(const InferRequest& request,
                                              const std::vector<Summary>& summaries, size_t sent,
                                              const ModelInfo& model) {
  inference::ModelInferResponse out = ToInferNames(request.id, model);
  for (const InferOutput* output : request.outputs) {
    AddOutput(*output, request, summaries, sent, &out);
  }
  return out;
}

inference::ModelInferResponse ToInferPiece(const InferRequest& request, const std::string& text,
                                           const ModelInfo& model) {
  inference::ModelInferResponse out = ToInferNames(request.id, model);
  if (Wants(request, kTextOutput)) AddTextOutput(kTextOutput, request.shape, {text}, &out);
  return out;
}

inference::ModelInferResponse ToInferNames(const std::string& id, const ModelInfo& model) {
  inference::ModelInferResponse out;
  out.set_model_name(model.name);
  out.set_model_version(kModelVersion);
  out.set_id(id);
  return out;
}

void SetFinalResponse(bool final, inference::ModelInferResponse* out) {
  (*out->mutable_parameters())["triton_final_response"].set_bool_param(final);
}

inference::ModelStreamInferResponse ToInferFailure(const std::string& id, const Status& status,
                                                   const ModelInfo& model) {
  inference::ModelStreamInferResponse out;
  const std::string message(status.message());
  // An empty one would say that nothing failed.
  out.set_error_message(message.empty() ? OutcomeOf(status).label : message);
  *out.mutable_infer_response() = ToInferNames(id, model);
  SetFinalResponse(true, out.mutable_infer_response());
  (*out.mutable_infer_response()->mutable_parameters())["reason"].set_string_param(
      OutcomeOf(status).wire_reason);
  return out;
}

}  // namespace precis
