#include "cli/client/connect.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/client_interceptor.h"

namespace precis::cli {
namespace {

namespace interceptors = grpc::experimental;

// gRPC asks the proxy of the environment for any address; none can reach our own machine's
// loopback.
bool IsLocal(const std::string& server) {
  for (const char* start : {"127.", "localhost:", "[::1]:", "unix:"}) {
    if (server.rfind(start, 0) == 0) return true;
  }
  return false;
}

// Puts the token into every call of a channel. (gRPC's own credentials for a call refuse to go
// over plain text, on this machine's loopback as well.)
class TokenInterceptor final : public interceptors::Interceptor {
 public:
  explicit TokenInterceptor(std::string header) : header_(std::move(header)) {}
  void Intercept(interceptors::InterceptorBatchMethods* methods) override {
    using Point = interceptors::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Point::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    }
    methods->Proceed();
  }

 private:
  const std::string header_;
};

class TokenInterceptorFactory final : public interceptors::ClientInterceptorFactoryInterface {
 public:
  explicit TokenInterceptorFactory(const std::string& token) : header_("Bearer " + token) {}
  interceptors::Interceptor* CreateClientInterceptor(interceptors::ClientRpcInfo*) override {
    return new TokenInterceptor(header_);  // gRPC deletes it
  }

 private:
  const std::string header_;
};

StatusOr<std::string> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.good() && !file.eof()) return InvalidArgument(path + ": cannot be read");
  if (text.empty()) return InvalidArgument(path + ": is empty or cannot be read");
  return text;
}

// Empty: there is none.
StatusOr<std::string> ReadToken(const std::string& path) {
  std::string token;
  std::string place = "PRECIS_TOKEN";
  if (!path.empty()) {
    place = path;
    PRECIS_ASSIGN_OR_RETURN(token, ReadAll(path));
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  } else if (const char* variable = std::getenv("PRECIS_TOKEN")) {
    token = variable;
  }
  for (const char c : token) {
    if (c <= ' ' || c > '~') {
      return InvalidArgument(place + ": a token is one word of visible ASCII characters");
    }
  }
  if (!path.empty() && token.empty()) return InvalidArgument(path + ": has no token");
  return token;
}

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentialsOf(const Credentials& c) {
  if (c.tls_cert.empty() != c.tls_key.empty()) {
    return InvalidArgument("--tls-cert and --tls-key go together");
  }
  if (c.tls_ca.empty()) {
    if (!c.tls_cert.empty()) return InvalidArgument("--tls-cert needs --tls-ca (or: system)");
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions options;
  if (c.tls_ca != "system") {
    PRECIS_ASSIGN_OR_RETURN(options.pem_root_certs, ReadAll(c.tls_ca));
  }
  if (!c.tls_cert.empty()) {
    PRECIS_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadAll(c.tls_cert));
    PRECIS_ASSIGN_OR_RETURN(options.pem_private_key, ReadAll(c.tls_key));
  }
  return grpc::SslCredentials(options);
}

}  // namespace

void AddCredentialFlags(CLI::App& command, Credentials* credentials) {
  command
      .add_option("--tls-ca", credentials->tls_ca,
                  "File of the server's authority (PEM), or: system; without: no encryption")
      ->envname("PRECIS_TLS_CA");
  command.add_option("--tls-cert", credentials->tls_cert,
                     "File of our own certificate (PEM), where the server wants one");
  command.add_option("--tls-key", credentials->tls_key, "File of its private key (PEM)");
  command.add_option("--token-file", credentials->token_file,
                     "File of our token; without: PRECIS_TOKEN of the environment");
}

StatusOr<std::unique_ptr<v1::SummarizationService::Stub>> Connect(const std::string& server,
                                                                  const Credentials& credentials) {
  PRECIS_ASSIGN_OR_RETURN(const auto channel_credentials, ChannelCredentialsOf(credentials));
  PRECIS_ASSIGN_OR_RETURN(const std::string token, ReadToken(credentials.token_file));
  if (!token.empty() && credentials.tls_ca.empty() && !IsLocal(server)) {
    return FailedPrecondition(fmt::format(
        "the token would go to {} unencrypted; say --tls-ca FILE (or: system)", server));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // log-probabilities of long summaries
  if (IsLocal(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::vector<std::unique_ptr<interceptors::ClientInterceptorFactoryInterface>> factories;
  if (!token.empty()) factories.push_back(std::make_unique<TokenInterceptorFactory>(token));
  return v1::SummarizationService::NewStub(interceptors::CreateCustomChannelWithInterceptors(
      server, channel_credentials, arguments, std::move(factories)));
}

}  // namespace precis::cli
