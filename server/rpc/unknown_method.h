// The methods that no service here has: authenticated as any other, then UNIMPLEMENTED in words,
// which name the reason where clients of other servers are likely to ask.
//
// Owner: the server. Thread rule: gRPC's callback threads.
#pragma once

#include <string_view>

#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/support/server_callback.h"
#include "server/calls/core.h"

namespace precis {

class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  explicit UnknownMethods(ServerCore& core) : core_(core) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  ServerCore& core_;
};

// `path` as on the wire: "/inference.GRPCInferenceService/TraceSetting".
Status WhyNotServed(std::string_view path);

}  // namespace precis
