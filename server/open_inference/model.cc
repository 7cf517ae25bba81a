#include "server/open_inference/model.h"

#include <string>

#include "engine/engine.h"
#include "server/open_inference/request.h"
#include "server/open_inference/tensors.h"

namespace precis {
namespace {

constexpr char kPlatform[] = "precis";

void AddTensor(const char* name, inference::DataType type, bool list,
               inference::ModelMetadataResponse::TensorMetadata* out) {
  out->set_name(name);
  out->set_datatype(DatatypeName(type));
  out->add_shape(-1);
  out->add_shape(list ? -1 : 1);
}

void SetDuration(const DurationCount& from, inference::StatisticDuration* out) {
  out->set_count(from.count);
  out->set_ns(from.ns);
}

}  // namespace

void FillModelMetadata(const ModelInfo& model, inference::ModelMetadataResponse* out) {
  out->set_name(model.name);
  out->add_versions(std::string(kModelVersion));  // GCC 12 warns amid an assign of char*
  out->set_platform(kPlatform);
  for (const InferInput& input : InferInputs()) {
    AddTensor(input.name, input.type, input.list, out->add_inputs());
  }
  for (const InferOutput& output : InferOutputs()) {
    AddTensor(output.name, output.type, false, out->add_outputs());
  }
}

void FillModelConfig(const ModelInfo& model, const ServerOptions& options,
                     inference::ModelConfig* out) {
  out->set_name(model.name);
  out->set_platform(kPlatform);
  out->set_backend(kPlatform);
  out->mutable_version_policy()->mutable_latest()->set_num_versions(1);
  out->set_max_batch_size(static_cast<int32_t>(MaxInferTexts(options)));
  for (const InferInput& input : InferInputs()) {
    auto* to = out->add_input();
    to->set_name(input.name);
    to->set_data_type(input.type);
    to->add_dims(input.list ? -1 : 1);
    to->set_optional(input.name != std::string_view(kTextInput));
  }
  for (const InferOutput& output : InferOutputs()) {
    auto* to = out->add_output();
    to->set_name(output.name);
    to->set_data_type(output.type);
    to->add_dims(1);
  }
  out->mutable_dynamic_batching();
  // With `stream` a request has as many answers as its summary has pieces.
  out->mutable_model_transaction_policy()->set_decoupled(true);
  auto& parameters = *out->mutable_parameters();
  parameters["fingerprint"].set_string_value(model.fingerprint);
  parameters["architecture"].set_string_value(model.architecture);
  parameters["attention_variant"].set_string_value(model.attention_variant);
  parameters["numerics"].set_string_value(model.numerics);
}

void FillModelStatistics(ServerCore& core, inference::ModelStatistics* out) {
  const Engine& engine = core.summarizer.engine();
  const InferenceCounts counts = core.inferences.Read();
  out->set_name(engine.info().name);
  out->set_version(kModelVersion);
  out->set_last_inference(counts.last_ms);
  out->set_inference_count(counts.success.count);
  out->set_execution_count(engine.stats().steps);
  auto* stats = out->mutable_inference_stats();
  SetDuration(counts.success, stats->mutable_success());
  SetDuration(counts.fail, stats->mutable_fail());
  SetDuration(counts.queue, stats->mutable_queue());
  SetDuration(counts.outside, stats->mutable_compute_input());
  SetDuration(counts.compute, stats->mutable_compute_infer());
  SetDuration({.count = counts.success.count, .ns = 0}, stats->mutable_compute_output());
  auto* memory = out->add_memory_usage();
  memory->set_type(engine.info().device == "cuda" ? "GPU" : "CPU");
  memory->set_byte_size(engine.info().weight_bytes + engine.info().pool_bytes);
}

}  // namespace precis
