// A gRPC server and the acceptor that it gets its connections from.
//
// Owner: the main server, the health port, the admin port. Thread rule: Start and Stop by one
// thread.
#pragma once

#include <memory>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/net/acceptor.h"
#include "server/net/connection_limits.h"
#include "server/net/listener.h"
#include "server/observe/metrics.h"

namespace precis {

class ListeningServer {
 public:
  // `builder` has its services and limits, and no port; `option` is the listener's. Answers from
  // now on. `metrics` may be null.
  static StatusOr<std::unique_ptr<ListeningServer>> Start(
      grpc::ServerBuilder& builder, Listener listener,
      std::shared_ptr<grpc::ServerCredentials> credentials, ConnectionLimits limits,
      const std::string& option, ServerMetrics* metrics);
  ~ListeningServer() { Stop(Duration(0)); }

  // Takes no more connections, and cuts what is still under way after `grace`. Idempotent.
  void Stop(Duration grace);

  int port() const { return acceptor_->port(); }  // 0 for a unix socket
  Acceptor& acceptor() { return *acceptor_; }
  grpc::Server& grpc() { return *server_; }

 private:
  ListeningServer() = default;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> door_;
  std::unique_ptr<Acceptor> acceptor_;  // calls `door_`
};

}  // namespace precis
