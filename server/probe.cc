#include "server/probe.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "server/config/address.h"
#include "server/security/tls_identity.h"

namespace precis {
namespace {

namespace tls = grpc::experimental;

class AnyCertificate final : public tls::ExternalCertificateVerifier {
 public:
  bool Verify(tls::TlsCustomVerificationCheckRequest*, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    *sync_status = grpc::Status::OK;
    return true;  // at once
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}
};

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const ServerOptions& options) {
  const bool plain = options.tls_cert.empty() || !options.health_listen.empty();
  if (plain) return grpc::InsecureChannelCredentials();
  tls::TlsChannelCredentialsOptions out;
  out.set_verify_server_certs(false);
  out.set_check_call_host(false);
  out.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<AnyCertificate>());
  if (!options.tls_client_ca.empty()) {
    PRECIS_ASSIGN_OR_RETURN(const TlsIdentity own,
                            ReadTlsIdentity(options.tls_cert, options.tls_key));
    // One text of key and chain, of which gRPC takes what each is for.
    const std::vector<tls::IdentityKeyCertPair> pairs = {{own.pem, own.pem}};
    out.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(pairs));
    out.watch_identity_key_cert_pairs();
  }
  return tls::TlsCredentials(out);
}

}  // namespace

Status ProbeHealth(const ServerOptions& options, Duration timeout) {
  namespace health = grpc::health::v1;
  const bool apart = !options.health_listen.empty();
  const std::string& address = apart ? options.health_listen : options.listen;
  PRECIS_ASSIGN_OR_RETURN(const auto credentials, CredentialsOf(options));
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(address), apart ? "--health-listen" : "--listen"));
  const std::string target = ClientTarget(address);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the server is on this machine
  auto stub = health::Health::NewStub(grpc::CreateCustomChannel(target, credentials, arguments));
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
