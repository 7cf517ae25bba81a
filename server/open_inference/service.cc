#include "server/open_inference/service.h"

#include <chrono>

#include "server/calls/missing_message.h"
#include "server/config/version.h"
#include "server/net/wire.h"
#include "server/observe/errors.h"
#include "server/open_inference/model.h"
#include "server/open_inference/request.h"
#include "server/open_inference/stream_call.h"
#include "server/open_inference/unary_call.h"

namespace precis {
namespace {

// Probes ask whether the server is alive or ready, again and again: they are answered while it
// drains, and logged at debug.
enum class Kind { kInfo, kProbe };

// A question about server or model: authenticated, parsed, answered by `fill`, recorded.
template <typename Request, typename Response, typename Fill>
grpc::ServerUnaryReactor* Answer(ServerCore& core, grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response,
                                 Kind kind, const Fill& fill) {
  if (!HasMessage(bytes)) {
    return new MissingMessage<grpc::ServerUnaryReactor>(core, context, Method::kOpenInferenceInfo);
  }
  CallContext call_context;
  Status status = core.entry.Authenticate(context, Method::kOpenInferenceInfo, &call_context);
  if (kind == Kind::kProbe && ReasonOf(status) == Reason::kDraining) {
    status = OkStatus();
  }
  Request request;
  if (status.ok()) status = ParseMessage(bytes, core.options, &request);
  Response reply;
  if (status.ok()) status = fill(request, &reply);
  if (status.ok()) SerializeMessage(reply, response);
  AddCallMetadata(call_context, status, context);
  const bool quiet = kind == Kind::kProbe && status.ok();
  RecordOutcome(core, call_context, status, nullptr, std::chrono::steady_clock::now(),
                quiet ? spdlog::level::debug : spdlog::level::info);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status, context));
  return reactor;
}

// Of the requests that name a model.
template <typename Request>
Status CheckModel(const Request& request, const ServerCore& core) {
  return CheckInferModel(request.name(), request.version(), core.summarizer.info(), "name",
                         "version");
}

}  // namespace

grpc::ServerUnaryReactor* OpenInferenceService::ServerLive(Context* context, const Bytes* request,
                                                           Bytes* response) {
  return Answer<inference::ServerLiveRequest, inference::ServerLiveResponse>(
      core_, context, *request, response, Kind::kProbe, [](const auto&, auto* reply) {
        reply->set_live(true);
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerReady(Context* context, const Bytes* request,
                                                            Bytes* response) {
  return Answer<inference::ServerReadyRequest, inference::ServerReadyResponse>(
      core_, context, *request, response, Kind::kProbe, [this](const auto&, auto* reply) {
        reply->set_ready(core_.metrics.healthy());
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelReady(Context* context, const Bytes* request,
                                                           Bytes* response) {
  return Answer<inference::ModelReadyRequest, inference::ModelReadyResponse>(
      core_, context, *request, response, Kind::kProbe, [this](const auto& asked, auto* reply) {
        // Another model is not ready; Triton says so without an error.
        reply->set_ready(core_.metrics.healthy() && CheckModel(asked, core_).ok());
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerMetadata(Context* context,
                                                               const Bytes* request,
                                                               Bytes* response) {
  return Answer<inference::ServerMetadataRequest, inference::ServerMetadataResponse>(
      core_, context, *request, response, Kind::kInfo, [](const auto&, auto* reply) {
        reply->set_name("precis");
        reply->set_version(kPrecisVersion);
        for (const char* extension : {"model_configuration", "parameters", "statistics"}) {
          reply->add_extensions(extension);
        }
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::RepositoryIndex(Context* context,
                                                                const Bytes* request,
                                                                Bytes* response) {
  return Answer<inference::RepositoryIndexRequest, inference::RepositoryIndexResponse>(
      core_, context, *request, response, Kind::kInfo, [this](const auto& asked, auto* reply) {
        const bool ready = core_.metrics.healthy();
        if (asked.ready() && !ready) return OkStatus();
        auto* model = reply->add_models();
        model->set_name(core_.summarizer.info().name);
        model->set_version(kModelVersion);
        model->set_state(ready ? "READY" : "UNAVAILABLE");
        if (!ready) model->set_reason("the engine does not step");
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelMetadata(Context* context,
                                                              const Bytes* request,
                                                              Bytes* response) {
  return Answer<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
      core_, context, *request, response, Kind::kInfo, [this](const auto& asked, auto* reply) {
        PRECIS_RETURN_IF_ERROR(CheckModel(asked, core_));
        FillModelMetadata(core_.summarizer.info(), reply);
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelConfig(Context* context, const Bytes* request,
                                                            Bytes* response) {
  return Answer<inference::ModelConfigRequest, inference::ModelConfigResponse>(
      core_, context, *request, response, Kind::kInfo, [this](const auto& asked, auto* reply) {
        PRECIS_RETURN_IF_ERROR(CheckModel(asked, core_));
        FillModelConfig(core_.summarizer.info(), core_.options, reply->mutable_config());
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelStatistics(Context* context,
                                                                const Bytes* request,
                                                                Bytes* response) {
  return Answer<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>(
      core_, context, *request, response, Kind::kInfo, [this](const auto& asked, auto* reply) {
        if (!asked.name().empty()) PRECIS_RETURN_IF_ERROR(CheckModel(asked, core_));
        FillModelStatistics(core_, reply->add_model_stats());
        return OkStatus();
      });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelInfer(Context* context, const Bytes* request,
                                                           Bytes* response) {
  if (!HasMessage(*request)) {
    return new MissingMessage<grpc::ServerUnaryReactor>(core_, context, Method::kModelInfer);
  }
  return OpenInfer(core_, context, *request, response);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenInferenceService::ModelStreamInfer(
    Context* context) {
  return OpenInferStream(core_, context);
}

}  // namespace precis
