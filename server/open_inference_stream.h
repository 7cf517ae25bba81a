// ModelStreamInfer: requests in, answers out as they come, each with its request's id. As
// SummarizeMany it reads with a place in the queue in hand; a request that fails fails alone.
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/core.h"

namespace precis {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenInferStream(
    ServerCore& core, grpc::CallbackServerContext* context);

}  // namespace precis
