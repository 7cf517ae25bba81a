// precis.admin.v1 on a unix socket of mode 0600: who may open it is who may act on the server. It
// authenticates nothing, and is no way for summaries.
//
// Owner: the server. Thread rule: Open and Stop by one thread; calls come on gRPC's.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "precis/admin/v1/admin.grpc.pb.h"
#include "server/net/listening_server.h"

namespace precis {

class Server;

class AdminService final : public admin::v1::AdminService::CallbackService {
 public:
  explicit AdminService(Server& server) : server_(server) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const admin::v1::GetStatusRequest* request,
                                      admin::v1::GetStatusResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const admin::v1::DrainRequest* request,
                                  admin::v1::DrainResponse* response) override;
  grpc::ServerUnaryReactor* Reload(grpc::CallbackServerContext* context,
                                   const admin::v1::ReloadRequest* request,
                                   admin::v1::ReloadResponse* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* context,
                                        const admin::v1::SetLogLevelRequest* request,
                                        admin::v1::SetLogLevelResponse* response) override;

 private:
  Server& server_;
};

class AdminPort {
 public:
  // The socket never exists with a wider mode. A stale one is replaced; a live one, or a file that
  // is no socket, is an error that names it.
  static StatusOr<std::unique_ptr<AdminPort>> Open(const std::string& path, Server& server);
  ~AdminPort() { Stop(); }

  // The socket is gone afterwards. Idempotent.
  void Stop();

 private:
  explicit AdminPort(Server& server) : service_(server) {}
  AdminService service_;
  std::unique_ptr<ListeningServer> server_;
};

}  // namespace precis
