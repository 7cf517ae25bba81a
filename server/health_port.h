// --health-listen: a plaintext address that knows grpc.health.v1 and nothing else, for probes that
// can do neither TLS nor tokens. It answers from the start of the process, and last of all at its
// end.
//
// Owner: main. Thread rule: any thread; ends when it is destroyed, after the server it speaks of.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "common/mutex.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/net/listening_server.h"

namespace precis {

// Ours and not gRPC's own, which says SERVING from its start until it is set otherwise: a probe in
// between would take a server that loads for one that is ready.
class HealthPort final : public grpc::health::v1::Health::CallbackService,
                         public grpc::HealthCheckServiceInterface {
 public:
  // NOT_SERVING until it is set otherwise. The error names the address.
  static StatusOr<std::unique_ptr<HealthPort>> Open(const std::string& address);
  ~HealthPort() override;

  int port() const { return server_->port(); }  // 0 for a unix socket

  void SetServingStatus(const std::string& name, bool serving) override;
  void SetServingStatus(bool serving) override;
  void Shutdown() override;

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  using Serving = grpc::health::v1::HealthCheckResponse::ServingStatus;

  HealthPort();
  Serving StatusOf(const std::string& name) const PRECIS_REQUIRES(mutex_);

  Mutex mutex_;
  std::map<std::string, bool> serving_ PRECIS_GUARDED_BY(mutex_);  // by service; "": the server
  bool ended_ PRECIS_GUARDED_BY(mutex_) = false;
  std::set<Watcher*> watchers_ PRECIS_GUARDED_BY(mutex_);
  std::unique_ptr<ListeningServer> server_;
};

}  // namespace precis
