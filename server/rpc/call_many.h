// SummarizeMany: documents in, results out in the order they are done
// (server/calls/request_stream.h).
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/calls/core.h"

namespace precis {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenMany(
    ServerCore& core, grpc::CallbackServerContext* context);

}  // namespace precis
