// SummarizeMany: documents in, results out in the order they are done. A read is started only with
// a permit in hand, so that a full server slows the client down by flow control and refuses
// nothing.
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/core.h"

namespace precis {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenMany(
    ServerCore& core, grpc::CallbackServerContext* context);

}  // namespace precis
