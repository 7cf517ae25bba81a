// The server around a loaded model: services, metrics, health, watchdog, and an orderly end.
//
// Owner: main, or a test. Thread rule: one thread calls it; BeginDrain and Stop from any.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "engine/request/summarizer.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/admin.h"
#include "server/calls/core.h"
#include "server/config/options.h"
#include "server/engine_collector.h"
#include "server/metrics_endpoint.h"
#include "server/net/listening_server.h"
#include "server/observe/health.h"
#include "server/observe/metrics.h"
#include "server/observe/port_watch.h"
#include "server/observe/watchdog.h"
#include "server/open_inference/service.h"
#include "server/rpc/reflection.h"
#include "server/rpc/service.h"
#include "server/rpc/unknown_method.h"
#include "server/security/reloader.h"
#include "server/security/tls.h"

namespace precis {

class Server {
 public:
  // Takes both addresses and answers from now on. The error names the address. `health_port`, which
  // may be null and outlives the server, receives what the main port's health service says.
  static StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, LoadedSummarizer model,
      grpc::HealthCheckServiceInterface* health_port = nullptr);
  ~Server();  // Stop(), then waits for the engine

  int port() const { return listening_->port(); }  // 0 for a unix socket
  int metrics_port() const { return endpoint_ ? endpoint_->port() : 0; }
  bool serving() const { return health_->serving(); }

  // Health goes off, new requests are refused with Reason::kDraining, bulk streams read no more.
  // What was accepted goes on. Idempotent.
  void BeginDrain();
  // False when requests were under way, or replies not sent, still after `timeout`. Replies that
  // no one reads are given up before long.
  bool WaitIdle(Duration timeout) { return core_->admission.WaitIdle(timeout); }
  // Reads tokens and certificates again, now; the first error. What is bad changes nothing.
  Status Reload() { return reloader_->ReloadAll(); }
  // Everything under way ends with UNAVAILABLE, now; the addresses are free afterwards. Does not
  // wait for the engine. Idempotent.
  void Stop();

  ServerCore& core() { return *core_; }
  ServerMetrics& metrics() { return *metrics_; }

 private:
  Server(const ServerOptions& options, LoadedSummarizer model,
         grpc::HealthCheckServiceInterface* health_port);
  // Tokens and certificates: read, and watched from then on.
  Status LoadSecrets();
  Status OpenMetrics();
  Status Listen();
  bool IsQuiet();  // no call of ours is under way, and no reply is unread
  void AddArguments(grpc::ServerBuilder& builder) const;

  // In this order: each uses those above it.
  const ServerOptions options_;
  grpc::HealthCheckServiceInterface* const health_port_;
  const std::unique_ptr<ServerMetrics> metrics_;
  LoadedSummarizer model_;
  std::unique_ptr<ServerCore> core_;
  std::shared_ptr<EngineCollector> collector_;  // shared with the endpoint
  std::unique_ptr<MetricsEndpoint> endpoint_;
  std::unique_ptr<ServerTls> tls_;  // null without TLS
  std::unique_ptr<Reloader> reloader_;
  SummarizationService service_;
  OpenInferenceService open_inference_;
  UnknownMethods unknown_methods_;
  const std::vector<std::string> services_;  // as reflection lists them
  ReflectionV1 reflection_v1_;
  ReflectionV1Alpha reflection_v1alpha_;
  std::unique_ptr<ListeningServer> listening_;
  std::unique_ptr<Health> health_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<PortWatch> port_watch_;  // null without a watchdog
  std::unique_ptr<AdminPort> admin_;       // null without --admin-socket
};

}  // namespace precis
