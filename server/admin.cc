#include "server/admin.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "common/log.h"
#include "fmt/format.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/config/version.h"
#include "server/net/connection_limits.h"
#include "server/net/listener.h"
#include "server/observe/errors.h"
#include "server/security/transport.h"
#include "server/server.h"

namespace precis {
namespace {

constexpr char kOption[] = "--admin-socket";
constexpr std::chrono::milliseconds kFlush{100};

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const grpc::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

// spdlog says "warning", and our option "warn".
std::string LevelName(spdlog::level::level_enum level) {
  if (level == spdlog::level::warn) return "warn";
  const auto name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* context,
                                                  const admin::v1::GetStatusRequest*,
                                                  admin::v1::GetStatusResponse* response) {
  ServerCore& core = server_.core();
  const EngineStats stats = core.summarizer.engine().stats();
  response->set_version(kPrecisVersion);
  response->set_serving(server_.serving());
  response->set_draining(core.entry.closed());
  response->set_requests(static_cast<uint32_t>(core.admission.requests()));
  response->set_tokens(core.admission.tokens());
  response->set_waiting_sequences(stats.waiting);
  response->set_encoding_sequences(stats.encoding);
  response->set_decoding_sequences(stats.decoding);
  response->set_progress_age_seconds(stats.seconds_since_progress);
  response->set_log_level(LevelName(spdlog::get_level()));
  response->set_certificate_expiry_seconds(server_.metrics().CertificateExpiry());
  for (const ClientCount& client : core.admission.ClientsUnderWay()) {
    auto* out = response->add_clients();
    out->set_name(client.account);
    out->set_requests(static_cast<uint32_t>(client.requests));
  }
  return Answer(context, grpc::Status::OK);
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const admin::v1::DrainRequest*,
                                              admin::v1::DrainResponse* response) {
  spdlog::warn("admin: drain; new requests are refused until the process is started anew");
  server_.BeginDrain();
  response->set_requests(static_cast<uint32_t>(server_.core().admission.requests()));
  return Answer(context, grpc::Status::OK);
}

grpc::ServerUnaryReactor* AdminService::Reload(grpc::CallbackServerContext* context,
                                               const admin::v1::ReloadRequest*,
                                               admin::v1::ReloadResponse*) {
  spdlog::info("admin: reload");
  const Status status = server_.Reload();
  if (status.ok()) return Answer(context, grpc::Status::OK);
  return Answer(context,
                grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, std::string(status.message())));
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* context,
                                                    const admin::v1::SetLogLevelRequest* request,
                                                    admin::v1::SetLogLevelResponse* response) {
  const auto level = spdlog::level::from_str(request->level());
  if (level == spdlog::level::off && request->level() != "off") {
    return Answer(
        context,
        ToGrpcStatus(FieldError("level", "is none of trace, debug, info, warn, error, off"),
                     context));
  }
  response->set_previous(LevelName(spdlog::get_level()));
  spdlog::warn("admin: the log level is {} from now on", LevelName(level));
  spdlog::set_level(level);
  return Answer(context, grpc::Status::OK);
}

StatusOr<std::unique_ptr<AdminPort>> AdminPort::Open(const std::string& path, Server& server) {
  PRECIS_ASSIGN_OR_RETURN(Listener listener, Listener::Open("unix:" + path, kOption, 0600));
  std::unique_ptr<AdminPort> port(new AdminPort(server));
  grpc::ServerBuilder builder;
  AddStrangerLimits(builder);
  builder.RegisterService(&port->service_);
  PRECIS_ASSIGN_OR_RETURN(
      port->server_,
      ListeningServer::Start(builder, std::move(listener), grpc::InsecureServerCredentials(),
                             SidePortLimits(RaiseDescriptorLimit()), kOption, nullptr));
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || (info.st_mode & 0777) != 0600) {
    return Internal(fmt::format("--admin-socket: {} did not get mode 0600", path));
  }
  return port;
}

void AdminPort::Stop() {
  if (server_ == nullptr) return;
  server_->Stop(kFlush);
}

}  // namespace precis
