// StreamSummarize: the events of one request, in order, as fast as the client reads and no faster;
// what it has not read waits here, never in the engine, and not for ever
// (server/admission/unread.h).
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/calls/core.h"

namespace precis {

grpc::ServerWriteReactor<grpc::ByteBuffer>* OpenStream(ServerCore& core,
                                                       grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer& request);

}  // namespace precis
