// inference.GRPCInferenceService, for clients of Triton and KServe: each RPC opens its reactor or
// is answered here. Takes messages as bytes, as SummarizationService does.
//
// Owner: the server. Thread rule: gRPC's callback threads.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "inference/open_inference.grpc.pb.h"
#include "server/calls/core.h"

namespace precis {

template <typename Base>
using RawInference = inference::GRPCInferenceService::WithRawCallbackMethod_ModelInfer<
    inference::GRPCInferenceService::WithRawCallbackMethod_ModelStreamInfer<Base>>;
template <typename Base>
using RawServerInfo = inference::GRPCInferenceService::WithRawCallbackMethod_ServerLive<
    inference::GRPCInferenceService::WithRawCallbackMethod_ServerReady<
        inference::GRPCInferenceService::WithRawCallbackMethod_ServerMetadata<
            inference::GRPCInferenceService::WithRawCallbackMethod_RepositoryIndex<Base>>>>;
template <typename Base>
using RawModelInfo = inference::GRPCInferenceService::WithRawCallbackMethod_ModelReady<
    inference::GRPCInferenceService::WithRawCallbackMethod_ModelMetadata<
        inference::GRPCInferenceService::WithRawCallbackMethod_ModelConfig<
            inference::GRPCInferenceService::WithRawCallbackMethod_ModelStatistics<Base>>>>;
using RawOpenInferenceService =
    RawInference<RawServerInfo<RawModelInfo<inference::GRPCInferenceService::Service>>>;

class OpenInferenceService final : public RawOpenInferenceService {
 public:
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Unary = grpc::ServerUnaryReactor;

  explicit OpenInferenceService(ServerCore& core) : core_(core) {}

  Unary* ServerLive(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ServerReady(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ServerMetadata(Context* context, const Bytes* request, Bytes* response) override;
  Unary* RepositoryIndex(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ModelReady(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ModelMetadata(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ModelConfig(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ModelStatistics(Context* context, const Bytes* request, Bytes* response) override;
  Unary* ModelInfer(Context* context, const Bytes* request, Bytes* response) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* ModelStreamInfer(Context* context) override;

 private:
  // The methods for messages, hidden by those for bytes.
  using RawOpenInferenceService::ModelConfig;
  using RawOpenInferenceService::ModelInfer;
  using RawOpenInferenceService::ModelMetadata;
  using RawOpenInferenceService::ModelReady;
  using RawOpenInferenceService::ModelStatistics;
  using RawOpenInferenceService::ModelStreamInfer;
  using RawOpenInferenceService::RepositoryIndex;
  using RawOpenInferenceService::ServerLive;
  using RawOpenInferenceService::ServerMetadata;
  using RawOpenInferenceService::ServerReady;

  ServerCore& core_;
};

}  // namespace precis
