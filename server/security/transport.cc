#include "server/security/transport.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <string>

#include "fmt/format.h"
#include "server/config/address.h"
#include "server/security/bearer_tokens.h"
#include "server/security/guarded_file.h"
#include "server/security/tls_identity.h"

namespace precis {
namespace {

// A client whose machine is gone is noticed after so long, and its pages are given back.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// From the connection to the client's SETTINGS, TLS included.
constexpr int kHandshakeTimeoutMs = 20'000;
// Pings that come too early and are borne; the next one ends the connection.
constexpr int kPingStrikes = 2;

int Milliseconds(Duration d) {
  return static_cast<int>(
      std::clamp<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(d).count(), 0, INT_MAX));
}

}  // namespace

Status CheckTransport(const ServerOptions& options) {
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(options.listen), "--listen"));
  const bool encrypted = !options.tls_cert.empty();
  if (encrypted != !options.tls_key.empty()) {
    return InvalidArgument(encrypted ? "--tls-cert needs --tls-key" : "--tls-key needs --tls-cert");
  }
  if (!options.tls_client_ca.empty() && !encrypted) {
    return InvalidArgument("--tls-client-ca needs --tls-cert and --tls-key");
  }
  if (encrypted || options.insecure) return OkStatus();
  if (!IsLoopback(options.listen)) {
    return FailedPrecondition(
        fmt::format("--listen: {} is reachable from other machines, without encryption; give "
                    "--tls-cert and --tls-key, or say --insecure if that is meant",
                    options.listen));
  }
  if (!options.auth_tokens.empty()) {
    return FailedPrecondition(
        "--auth-tokens: tokens would travel without encryption; give --tls-cert and --tls-key, or "
        "say --insecure if that is meant");
  }
  return OkStatus();
}

Status CheckAccess(const ServerOptions& options) {
  PRECIS_RETURN_IF_ERROR(CheckTransport(options));
  if (!options.tls_cert.empty()) {
    PRECIS_RETURN_IF_ERROR(ReadTlsIdentity(options.tls_cert, options.tls_key).status());
  }
  if (!options.tls_client_ca.empty()) {
    PRECIS_RETURN_IF_ERROR(ReadTlsAuthorities(options.tls_client_ca).status());
  }
  if (options.auth_tokens.empty()) return OkStatus();
  PRECIS_ASSIGN_OR_RETURN(const std::string text,
                          ReadGuardedFile(options.auth_tokens, FileRule::kSecret));
  return TokenSet::Parse(text, options.auth_tokens, options.client_limits).status();
}

void AddStrangerLimits(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  // gRPC 1.51 unpacks a message whole before it looks at its size: a thousand times its bytes. What
  // comes packed by gzip is unpacked in server/net/wire.cc, up to the limit; of deflate we could
  // not tell that it is packed.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
}

void AddConnectionLimits(const ServerOptions& options, grpc::ServerBuilder& builder) {
  AddStrangerLimits(builder);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // Clients may ping, also between calls, but not often.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(options.min_ping_interval));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(options.max_connection_streams));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(options.max_metadata_bytes));
  if (options.max_connection_age.count() == 0) return;
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             Milliseconds(options.max_connection_age));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             Milliseconds(options.max_connection_age_grace));
}

}  // namespace precis
