// precis.v1.SummarizationService: each RPC opens its reactor. It takes messages as bytes and parses
// them itself (server/net/wire.h says why).
//
// Owner: the server. Thread rule: gRPC's callback threads.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "precis/v1/summarization.grpc.pb.h"
#include "server/calls/core.h"

namespace precis {

using RawSummarizationService = v1::SummarizationService::WithRawCallbackMethod_Summarize<
    v1::SummarizationService::WithRawCallbackMethod_StreamSummarize<
        v1::SummarizationService::WithRawCallbackMethod_SummarizeMany<
            v1::SummarizationService::WithRawCallbackMethod_ListModels<
                v1::SummarizationService::Service>>>>;

class SummarizationService final : public RawSummarizationService {
 public:
  explicit SummarizationService(ServerCore& core) : core_(core) {}

  grpc::ServerUnaryReactor* Summarize(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamSummarize(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SummarizeMany(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  // The methods for messages, hidden by those for bytes.
  using RawSummarizationService::ListModels;
  using RawSummarizationService::StreamSummarize;
  using RawSummarizationService::Summarize;
  using RawSummarizationService::SummarizeMany;

  ServerCore& core_;
};

}  // namespace precis
