#include "server/health_port.h"

#include <chrono>
#include <utility>

#include "grpcpp/ext/health_check_service_server_builder_option.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/net/connection_limits.h"
#include "server/net/listener.h"
#include "server/observe/health.h"
#include "server/security/transport.h"

namespace precis {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kOption[] = "--health-listen";
// A probe that does not read its answer is cut off then.
constexpr std::chrono::milliseconds kFlush{100};
// Requests here are a service's name.
constexpr int kMaxMessageBytes = 4096;

}  // namespace

// One open Watch. Its members belong to the port's mutex; gRPC deletes nothing, so it deletes
// itself.
class HealthPort::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthPort& port, const std::string& name) : port_(port), name_(name) {}

  const std::string& name() const { return name_; }

  // The port holds its mutex in both.
  void Tell(Serving status) {
    wanted_ = status;
    if (!writing_ && !finished_ && wanted_ != response_.status()) Write();
  }
  void End() {
    if (!finished_) Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server has ended"));
    finished_ = true;
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(port_.mutex_);
    writing_ = false;
    if (finished_) return;
    if (!ok) {
      End();
    } else if (wanted_ != response_.status()) {
      Write();
    }
  }
  void OnCancel() override {
    MutexLock lock(port_.mutex_);
    End();
  }
  void OnDone() override {
    {
      MutexLock lock(port_.mutex_);
      port_.watchers_.erase(this);
    }
    delete this;
  }

 private:
  void Write() {
    response_.set_status(wanted_);
    writing_ = true;
    StartWrite(&response_);
  }

  HealthPort& port_;
  const std::string name_;
  HealthCheckResponse response_;  // UNKNOWN, which is never sent, until the first is written
  Serving wanted_ = HealthCheckResponse::UNKNOWN;
  bool writing_ = false;
  bool finished_ = false;
};

HealthPort::HealthPort()
    : serving_{{"", false}, {kServiceName, false}, {kOpenInferenceServiceName, false}} {}

StatusOr<std::unique_ptr<HealthPort>> HealthPort::Open(const std::string& address) {
  PRECIS_ASSIGN_OR_RETURN(Listener listener, Listener::Open(address, kOption));
  std::unique_ptr<HealthPort> health(new HealthPort());
  grpc::ServerBuilder builder;
  // Not gRPC's own health service, which the main port turns on for the whole process.
  builder.SetOption(std::make_unique<grpc::HealthCheckServiceServerBuilderOption>(nullptr));
  AddStrangerLimits(builder);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.RegisterService(health.get());
  PRECIS_ASSIGN_OR_RETURN(
      health->server_,
      ListeningServer::Start(builder, std::move(listener), grpc::InsecureServerCredentials(),
                             SidePortLimits(RaiseDescriptorLimit()), kOption, nullptr));
  return health;
}

HealthPort::~HealthPort() {
  if (server_ == nullptr) return;
  Shutdown();
  {
    MutexLock lock(mutex_);
    for (Watcher* watcher : watchers_) watcher->End();
  }
  server_->Stop(kFlush);
}

HealthPort::Serving HealthPort::StatusOf(const std::string& name) const {
  const auto found = serving_.find(name);
  if (found == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return found->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthPort::SetServingStatus(const std::string& name, bool serving) {
  MutexLock lock(mutex_);
  serving_[name] = serving && !ended_;
  for (Watcher* watcher : watchers_) {
    if (watcher->name() == name) watcher->Tell(StatusOf(name));
  }
}

void HealthPort::SetServingStatus(bool serving) {
  MutexLock lock(mutex_);
  for (auto& [name, value] : serving_) value = serving && !ended_;
  for (Watcher* watcher : watchers_) watcher->Tell(StatusOf(watcher->name()));
}

void HealthPort::Shutdown() {
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  SetServingStatus(false);
}

grpc::ServerUnaryReactor* HealthPort::Check(grpc::CallbackServerContext* context,
                                            const HealthCheckRequest* request,
                                            HealthCheckResponse* response) {
  Serving status{};
  {
    MutexLock lock(mutex_);
    status = StatusOf(request->service());
  }
  auto* reactor = context->DefaultReactor();
  if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such service"));
  } else {
    response->set_status(status);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthPort::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  auto* watcher = new Watcher(*this, request->service());
  MutexLock lock(mutex_);
  watchers_.insert(watcher);
  watcher->Tell(StatusOf(watcher->name()));
  return watcher;
}

}  // namespace precis
