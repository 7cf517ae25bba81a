#include "cli/connect.h"

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace precis::cli {
namespace {

// gRPC asks the proxy of the environment for any address; none can reach our own machine's
// loopback.
bool IsLocal(const std::string& server) {
  for (const char* start : {"127.", "localhost:", "[::1]:", "unix:"}) {
    if (server.rfind(start, 0) == 0) return true;
  }
  return false;
}

}  // namespace

std::unique_ptr<v1::SummarizationService::Stub> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // log-probabilities of long summaries
  if (IsLocal(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return v1::SummarizationService::NewStub(
      grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments));
}

}  // namespace precis::cli
