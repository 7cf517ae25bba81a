// The end of a call whose message never came: its client left or its deadline passed before that,
// or its client said that no message comes. Which of them is known only when the call is over, and
// is recorded then. (A message that gRPC refuses, because it is too large, ends the call before it
// reaches us.)
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's.
#pragma once

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/calls/core.h"
#include "server/observe/errors.h"

namespace precis {

// Whether the message of a unary or server-streaming call came.
inline bool HasMessage(const grpc::ByteBuffer& bytes) { return bytes.Valid(); }

template <typename Reactor>
class MissingMessage final : public Reactor {
 public:
  MissingMessage(ServerCore& core, grpc::CallbackServerContext* context, Method method)
      : core_(core), context_(context) {
    status_ = core.entry.Authenticate(context, method, &call_context_);
    if (status_.ok()) status_ = InvalidArgument("the call ended without a message");
    AddCallMetadata(call_context_, status_, context);
    this->Finish(ToGrpcStatus(status_, context));
  }

  void OnDone() override {
    const bool was_sent = !context_->IsCancelled();
    RecordOutcome(core_, call_context_, was_sent ? status_ : core_.entry.WhyCancelled(*context_),
                  nullptr);
    delete this;
  }

 private:
  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  CallContext call_context_;
  Status status_;
};

}  // namespace precis
