#include "server/probe.h"

#include <chrono>
#include <string>

#include "fmt/format.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "server/address.h"

namespace precis {

Status ProbeHealth(const ServerOptions& options, Duration timeout) {
  namespace health = grpc::health::v1;
  const bool apart = !options.health_listen.empty();
  const std::string& address = apart ? options.health_listen : options.listen;
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(address), apart ? "--health-listen" : "--listen"));
  const std::string target = ClientTarget(address);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the server is on this machine
  auto stub = health::Health::NewStub(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::microseconds>(timeout));
  health::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (!status.ok()) {
    return Unavailable(fmt::format("{}: {}", target, status.error_message()));
  }
  if (response.status() != health::HealthCheckResponse::SERVING) {
    return Unavailable(fmt::format(
        "{}: {}", target, health::HealthCheckResponse::ServingStatus_Name(response.status())));
  }
  return OkStatus();
}

}  // namespace precis
