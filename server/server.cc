#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/address.h"
#include "server/transport.h"

namespace precis {
namespace {

// The longest that ends already decided take to reach their clients; a client that does not read is
// cut off then.
constexpr std::chrono::seconds kFlush{2};
// Once the server drains, a client that takes nothing of its reply for so long is not waited for.
constexpr std::chrono::seconds kDrainUnread{5};
// Files of tokens and certificates are looked at so often.
constexpr std::chrono::seconds kReloadInterval{1};
// A text that is too long is refused by us, with a reason, up to this many times the limit.
constexpr uint64_t kMessageFactor = 4;
constexpr uint64_t kLeastMessageBytes = 4u << 20;

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, LoadedModel model,
                                                grpc::HealthCheckServiceInterface* health_port) {
  PRECIS_RETURN_IF_ERROR(CheckTransport(options));
  std::unique_ptr<Server> server(new Server(options, std::move(model), health_port));
  PRECIS_RETURN_IF_ERROR(server->LoadSecrets());
  PRECIS_RETURN_IF_ERROR(server->OpenMetrics());
  PRECIS_RETURN_IF_ERROR(server->Listen());
  if (!options.admin_socket.empty()) {
    PRECIS_ASSIGN_OR_RETURN(server->admin_, AdminPort::Open(options.admin_socket, *server));
  }
  return server;
}

Server::Server(const ServerOptions& options, LoadedModel model,
               grpc::HealthCheckServiceInterface* health_port)
    : options_(options),
      health_port_(health_port),
      metrics_(std::make_unique<ServerMetrics>(model.engine->info())),
      model_(std::move(model)),
      core_(std::make_unique<ServerCore>(options_, *model_.summarizer, *metrics_)),
      collector_(
          std::make_shared<EngineCollector>(*model_.engine, core_->admission, core_->unread)),
      service_(*core_),
      open_inference_(*core_),
      unknown_methods_(*core_) {
  model_.engine->SetObserver(metrics_.get());
}

Server::~Server() {
  Stop();
  reloader_.reset();
  watchdog_.reset();
  // The step thread must not observe into metrics that are going, and the last events of requests
  // must not give permits back to an admission that is gone.
  model_.engine->Stop();
  model_.summarizer.reset();
}

Status Server::LoadSecrets() {
  std::vector<Reloader::Part> parts;
  if (!options_.tls_cert.empty()) {
    tls_ = std::make_unique<ServerTls>(options_);
    const auto load = [this] {
      PRECIS_RETURN_IF_ERROR(tls_->Load());
      metrics_->SetCertificateExpiry(tls_->expires_s());
      return OkStatus();
    };
    PRECIS_RETURN_IF_ERROR(load());
    std::vector<std::string> files = {options_.tls_cert, options_.tls_key};
    if (!options_.tls_client_ca.empty()) files.push_back(options_.tls_client_ca);
    parts.push_back({Reloaded::kCertificates, std::move(files), load});
  }
  if (core_->authenticator.needs_tokens()) {
    PRECIS_RETURN_IF_ERROR(core_->authenticator.Load());
    parts.push_back({Reloaded::kTokens, {options_.auth_tokens}, [this] {
                       return core_->authenticator.Load();
                     }});
  }
  reloader_ = std::make_unique<Reloader>(std::move(parts), kReloadInterval, *metrics_);
  return OkStatus();
}

Status Server::OpenMetrics() {
  if (options_.metrics_listen.empty()) return OkStatus();
  PRECIS_ASSIGN_OR_RETURN(endpoint_,
                          MetricsEndpoint::Open(options_.metrics_listen, *metrics_, {collector_}));
  return OkStatus();
}

void Server::AddArguments(grpc::ServerBuilder& builder) const {
  // Two servers must not share a port without knowing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  AddConnectionLimits(options_, builder);
  const uint64_t message_bytes =
      std::max(kMessageFactor * options_.text.max_text_bytes, kLeastMessageBytes);
  builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<uint64_t>(message_bytes, INT32_MAX)));
}

Status Server::Listen() {
  if (UnixSocketIsTaken(options_.listen)) {
    return Unavailable(
        fmt::format("--listen: cannot listen on {}: a server answers there", options_.listen));
  }
  grpc::EnableDefaultHealthCheckService(true);
  if (options_.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  AddArguments(builder);
  builder.AddListeningPort(
      options_.listen, tls_ != nullptr ? tls_->Credentials() : grpc::InsecureServerCredentials(),
      &port_);
  builder.RegisterService(&service_);
  builder.RegisterService(&open_inference_);
  builder.RegisterCallbackGenericService(&unknown_methods_);
  server_ = builder.BuildAndStart();
  const bool is_unix = options_.listen.starts_with("unix:");
  if (server_ == nullptr || port_ == 0) {
    return Unavailable(
        fmt::format("--listen: cannot listen on {}: the address is taken or not of this machine",
                    options_.listen));
  }
  if (is_unix) port_ = 0;
  health_ = std::make_unique<Health>(server_->GetHealthCheckService(), health_port_, *metrics_);
  watchdog_ = std::make_unique<Watchdog>(
      options_.watchdog_timeout, [this] { return model_.engine->stats(); }, *health_, *metrics_);
  return OkStatus();
}

void Server::BeginDrain() {
  if (health_ != nullptr) health_->SetDraining();
  core_->gate.Close();
  core_->live.DrainAll();
  core_->unread.Hurry(kDrainUnread);
}

void Server::Stop() {
  if (server_ == nullptr) return;
  BeginDrain();
  core_->gate.Stop();
  core_->live.AbortAll(StoppedError());
  server_->Shutdown(std::chrono::system_clock::now() + kFlush);
  server_->Wait();
  if (admin_ != nullptr) admin_->Stop();
}

}  // namespace precis
