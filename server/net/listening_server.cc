#include "server/net/listening_server.h"

#include <chrono>
#include <utility>

#include "fmt/format.h"

namespace precis {

StatusOr<std::unique_ptr<ListeningServer>> ListeningServer::Start(
    grpc::ServerBuilder& builder, Listener listener,
    std::shared_ptr<grpc::ServerCredentials> credentials, ConnectionLimits limits,
    const std::string& option, ServerMetrics* metrics) {
  using ConnectionType = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  std::unique_ptr<ListeningServer> out(new ListeningServer());
  out->door_ = builder.experimental().AddExternalConnectionAcceptor(ConnectionType::FROM_FD,
                                                                    std::move(credentials));
  out->server_ = builder.BuildAndStart();
  if (out->server_ == nullptr) return Internal(fmt::format("{}: gRPC cannot start", option));
  // From here on: gRPC closes nothing that it gets before its start or after its end.
  out->acceptor_ = std::make_unique<Acceptor>(
      std::move(listener), limits, option, metrics, [door = out->door_.get()](int fd) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
        connection.fd = fd;
        door->HandleNewConnection(&connection);
      });
  return out;
}

void ListeningServer::Stop(Duration grace) {
  if (acceptor_ == nullptr) return;
  acceptor_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(grace));
  server_->Wait();
}

}  // namespace precis
