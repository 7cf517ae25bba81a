// Summarize: initial metadata when the request is accepted, the summary when it is done.
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/calls/core.h"

namespace precis {

grpc::ServerUnaryReactor* OpenUnary(ServerCore& core, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

}  // namespace precis
