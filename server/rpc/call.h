// How a call about one document begins: it is authenticated, parsed and checked, and gets a place
// in the queue.
//
// Called by the reactors. Thread rule: any thread.
#pragma once

#include <optional>
#include <utility>

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/calls/core.h"
#include "server/calls/request.h"
#include "server/net/wire.h"

namespace precis {

struct OpenedCall {
  CallContext context;
  std::optional<ValidRequest> request;  // there is one once the call is open
  AdmissionPermit permit;
};

// After authentication; the order is that of cost.
template <typename Message>
Status CheckAndAdmit(ServerCore& core, const grpc::ByteBuffer& bytes, OpenedCall* call) {
  Message message;
  PRECIS_RETURN_IF_ERROR(ParseMessage(bytes, core.options, &message));
  PRECIS_ASSIGN_OR_RETURN(call->request, ToRequest(ViewOf(message), call->context.client,
                                                   core.summarizer, core.options));
  PRECIS_ASSIGN_OR_RETURN(
      call->permit, core.admission.TryAdmit(call->context.client, call->request->cost_tokens()));
  return OkStatus();
}

// A refusal gets its metadata and is recorded here; the caller sends it. What is accepted adds its
// own metadata.
template <typename Message>
Status OpenCall(ServerCore& core, grpc::CallbackServerContext* context, Method method,
                const grpc::ByteBuffer& bytes, OpenedCall* call) {
  Status status = core.entry.Authenticate(context, method, &call->context);
  if (status.ok()) status = CheckAndAdmit<Message>(core, bytes, call);
  if (!status.ok()) {
    AddCallMetadata(call->context, status, context);
    RecordOutcome(core, call->context, status, nullptr);
  }
  return status;
}

}  // namespace precis
