#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/log.h"
#include "fmt/format.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/config/address.h"
#include "server/net/connection_limits.h"
#include "server/net/listener.h"
#include "server/net/port_probe.h"
#include "server/net/wire.h"
#include "server/security/transport.h"

namespace precis {
namespace {

// The longest that ends already decided take to reach their clients; a client that does not read is
// cut off then.
constexpr std::chrono::seconds kFlush{2};
// Once the server drains, a client that takes nothing of its reply for so long is not waited for.
constexpr std::chrono::seconds kDrainUnread{5};
// After that nothing of ours is on the way, but what gRPC has. Connections that clients keep open
// are no reason to wait.
constexpr std::chrono::milliseconds kLastFlush{100};
constexpr std::chrono::milliseconds kLook{1};
// Files of tokens and certificates are looked at so often.
constexpr std::chrono::seconds kReloadInterval{1};
// The server's own port is asked so often, and may take so long to answer: a machine that is busy
// computing does.
constexpr std::chrono::seconds kPortInterval{5};
constexpr std::chrono::seconds kPortTimeout{5};

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                LoadedSummarizer model,
                                                grpc::HealthCheckServiceInterface* health_port) {
  PRECIS_RETURN_IF_ERROR(CheckTransport(options));
  RaiseDescriptorLimit();  // every port takes its share of them
  std::unique_ptr<Server> server(new Server(options, std::move(model), health_port));
  PRECIS_RETURN_IF_ERROR(server->LoadSecrets());
  PRECIS_RETURN_IF_ERROR(server->OpenMetrics());
  PRECIS_RETURN_IF_ERROR(server->Listen());
  if (!options.admin_socket.empty()) {
    PRECIS_ASSIGN_OR_RETURN(server->admin_, AdminPort::Open(options.admin_socket, *server));
  }
  return server;
}

Server::Server(const ServerOptions& options, LoadedSummarizer model,
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
      unknown_methods_(*core_),
      services_(ServedNames()),
      reflection_v1_(services_),
      reflection_v1alpha_(services_) {
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
  AddConnectionLimits(options_, builder);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(MaxMessageBytes(options_), INT32_MAX)));
}

Status Server::Listen() {
  PRECIS_ASSIGN_OR_RETURN(Listener listener, Listener::Open(options_.listen, "--listen"));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  AddArguments(builder);
  builder.RegisterService(&service_);
  builder.RegisterService(&open_inference_);
  if (options_.reflection) {
    builder.RegisterService(&reflection_v1_);
    builder.RegisterService(&reflection_v1alpha_);
  }
  builder.RegisterCallbackGenericService(&unknown_methods_);
  PRECIS_ASSIGN_OR_RETURN(
      listening_,
      ListeningServer::Start(
          builder, std::move(listener),
          tls_ != nullptr ? tls_->Credentials() : grpc::InsecureServerCredentials(),
          ChooseConnectionLimits(options_, RaiseDescriptorLimit()), "--listen", metrics_.get()));
  health_ =
      std::make_unique<Health>(listening_->grpc().GetHealthCheckService(), health_port_, *metrics_);
  watchdog_ = std::make_unique<Watchdog>(
      options_.watchdog_timeout, [this] { return model_.engine->stats(); }, *health_, *metrics_);
  if (options_.watchdog_timeout.count() == 0) return OkStatus();
  port_watch_ = std::make_unique<PortWatch>(
      kPortInterval,
      [this] {
        Acceptor& acceptor = listening_->acceptor();
        return AskPort(acceptor.local(), tls_ != nullptr, kPortTimeout,
                       [&acceptor](const SocketAddress& own) { acceptor.Expect(own); });
      },
      *health_, *metrics_);
  return OkStatus();
}

void Server::BeginDrain() {
  if (health_ != nullptr) health_->SetDraining();
  core_->entry.Close();
  core_->live.DrainAll();
  core_->unread.Hurry(kDrainUnread);
}

bool Server::IsQuiet() {
  return core_->admission.requests() == 0 && core_->live.Empty() && core_->unread.bytes() == 0;
}

void Server::Stop() {
  if (listening_ == nullptr) return;
  BeginDrain();
  port_watch_.reset();
  core_->entry.Stop();
  core_->live.AbortAll(StoppedError());
  const auto end = std::chrono::steady_clock::now() + kFlush;
  while (!IsQuiet() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(kLook);
  listening_->Stop(kLastFlush);
  if (admin_ != nullptr) admin_->Stop();
}

}  // namespace precis
