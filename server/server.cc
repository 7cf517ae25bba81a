#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "common/log.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/address.h"

namespace precis {
namespace {

// The longest that ends already decided take to reach their clients; a client that does not read is
// cut off then.
constexpr std::chrono::seconds kFlush{2};
// A client whose machine is gone is noticed after so long, and its pages are given back.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// A text that is too long is refused by us, with a reason, up to this many times the limit.
constexpr uint64_t kMessageFactor = 4;
constexpr uint64_t kLeastMessageBytes = 4u << 20;

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, LoadedModel model) {
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(options.listen), "--listen"));
  if (!options.insecure && !IsLoopback(options.listen)) {
    return FailedPrecondition(
        fmt::format("--listen: {} is reachable from other machines and this release has no "
                    "encryption; say --insecure if that is meant",
                    options.listen));
  }
  std::unique_ptr<Server> server(new Server(options, std::move(model)));
  PRECIS_RETURN_IF_ERROR(server->OpenMetrics());
  PRECIS_RETURN_IF_ERROR(server->Listen());
  return server;
}

Server::Server(const ServerOptions& options, LoadedModel model)
    : options_(options),
      metrics_(std::make_unique<ServerMetrics>(model.engine->info())),
      model_(std::move(model)),
      core_(std::make_unique<ServerCore>(options_, *model_.summarizer, *metrics_)),
      collector_(std::make_shared<EngineCollector>(*model_.engine, core_->admission)),
      service_(*core_),
      open_inference_(*core_),
      unknown_methods_(*core_) {
  model_.engine->SetObserver(metrics_.get());
}

Server::~Server() {
  Stop();
  watchdog_.reset();
  // The step thread must not observe into metrics that are going, and the last events of requests
  // must not give permits back to an admission that is gone.
  model_.engine->Stop();
  model_.summarizer.reset();
}

Status Server::OpenMetrics() {
  if (options_.metrics_listen.empty()) return OkStatus();
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(options_.metrics_listen), "--metrics-listen"));
  PRECIS_ASSIGN_OR_RETURN(endpoint_, MetricsEndpoint::Open(options_.metrics_listen));
  endpoint_->Add(metrics_->registry());
  endpoint_->Add(collector_);
  return OkStatus();
}

void Server::AddArguments(grpc::ServerBuilder& builder) const {
  // Two servers must not share a port without knowing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
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
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
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
  health_ = std::make_unique<Health>(server_->GetHealthCheckService(), *metrics_);
  watchdog_ = std::make_unique<Watchdog>(
      options_.watchdog_timeout, [this] { return model_.engine->stats().seconds_since_progress; },
      *health_, *metrics_);
  return OkStatus();
}

void Server::BeginDrain() {
  if (health_ != nullptr) health_->SetDraining();
  core_->gate.Close();
  core_->live.DrainAll();
}

void Server::Stop() {
  if (server_ == nullptr) return;
  BeginDrain();
  core_->live.AbortAll(
      ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped, "the server has ended"));
  server_->Shutdown(std::chrono::system_clock::now() + kFlush);
  server_->Wait();
}

}  // namespace precis
