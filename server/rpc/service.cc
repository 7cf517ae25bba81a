#include "server/rpc/service.h"

#include "server/calls/missing_message.h"
#include "server/net/wire.h"
#include "server/rpc/call_many.h"
#include "server/rpc/call_stream.h"
#include "server/rpc/call_unary.h"
#include "server/rpc/reply.h"

namespace precis {

grpc::ServerUnaryReactor* SummarizationService::Summarize(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request,
                                                          grpc::ByteBuffer* response) {
  if (!HasMessage(*request)) {
    return new MissingMessage<grpc::ServerUnaryReactor>(core_, context, Method::kSummarize);
  }
  return OpenUnary(core_, context, *request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SummarizationService::StreamSummarize(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  if (!HasMessage(*request)) {
    using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;
    return new MissingMessage<Reactor>(core_, context, Method::kStreamSummarize);
  }
  return OpenStream(core_, context, *request);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SummarizationService::SummarizeMany(
    grpc::CallbackServerContext* context) {
  return OpenMany(core_, context);
}

grpc::ServerUnaryReactor* SummarizationService::ListModels(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  if (!HasMessage(*request)) {
    return new MissingMessage<grpc::ServerUnaryReactor>(core_, context, Method::kListModels);
  }
  CallContext call_context;
  Status status = core_.entry.Authenticate(context, Method::kListModels, &call_context);
  v1::ListModelsRequest message;
  if (status.ok()) status = ParseMessage(*request, core_.options, &message);
  if (status.ok()) {
    v1::ListModelsResponse reply;
    *reply.add_models() = ToModel(core_.summarizer.engine());
    SerializeMessage(reply, response);
  }
  AddCallMetadata(call_context, status, context);
  RecordOutcome(core_, call_context, status, nullptr);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status, context));
  return reactor;
}

}  // namespace precis
