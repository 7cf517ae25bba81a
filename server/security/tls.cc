#include "server/security/tls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "common/log.h"
#include "fmt/chrono.h"
#include "fmt/format.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace precis {
namespace {

constexpr unsigned kRefreshSeconds = 1;  // gRPC's least

Status SystemError(const char* what) {
  return Internal(fmt::format("{}: {}", what, std::strerror(errno)));
}

Status WriteAll(int fd, const std::string& content) {
  for (size_t done = 0; done < content.size();) {
    const ssize_t wrote = write(fd, content.data() + done, content.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return SystemError("memory for a certificate");
    done += static_cast<size_t>(wrote);
  }
  return OkStatus();
}

}  // namespace

MemoryFile::~MemoryFile() {
  if (fd_ >= 0) close(fd_);
}

std::string MemoryFile::path() const { return fmt::format("/proc/self/fd/{}", fd_); }

// The descriptor's number stays and what is behind it is exchanged at once: who opens the path gets
// the old content or the new one.
Status MemoryFile::Replace(const std::string& content) {
  const int fd = memfd_create("precis", MFD_CLOEXEC);
  if (fd < 0) return SystemError("memory for a certificate");
  Status status = WriteAll(fd, content);
  // gRPC reads a file twice and believes it when its time, in seconds, was the same before and
  // after: no two contents have the same one.
  const timespec time{.tv_sec = ++version_, .tv_nsec = 0};
  const timespec times[] = {time, time};
  if (status.ok() && futimens(fd, times) != 0) status = SystemError("memory for a certificate");
  if (status.ok() && fd_ < 0) {
    fd_ = fd;
    return OkStatus();
  }
  if (status.ok() && dup3(fd, fd_, O_CLOEXEC) < 0) status = SystemError("exchanging a certificate");
  close(fd);
  return status;
}

Status ServerTls::CheckTimes(const TlsIdentity& identity, const TlsAuthorities& authorities) const {
  const int64_t now_s = std::time(nullptr);
  PRECIS_RETURN_IF_ERROR(
      CheckTime(options_.tls_cert, identity.starts_s, identity.expires_s, now_s));
  if (options_.tls_client_ca.empty()) return OkStatus();
  return CheckTime(options_.tls_client_ca, authorities.starts_s, authorities.expires_s, now_s);
}

Status ServerTls::Load() {
  PRECIS_ASSIGN_OR_RETURN(const TlsIdentity identity,
                          ReadTlsIdentity(options_.tls_cert, options_.tls_key));
  TlsAuthorities authorities;
  const bool mutual = !options_.tls_client_ca.empty();
  if (mutual) {
    PRECIS_ASSIGN_OR_RETURN(authorities, ReadTlsAuthorities(options_.tls_client_ca));
  }
  const Status times = CheckTimes(identity, authorities);
  if (!times.ok()) {
    if (expires_s_ != 0) return times;
    // At start there is nothing better, and who does not look at the clock is served.
    spdlog::warn("TLS: {}", std::string(times.message()));
  }
  if (mutual) PRECIS_RETURN_IF_ERROR(authorities_.Replace(authorities.pem));
  PRECIS_RETURN_IF_ERROR(identity_.Replace(identity.pem));
  expires_s_ = identity.expires_s;
  spdlog::info("TLS: certificate {} until {:%Y-%m-%d %H:%M} UTC; clients {}", identity.subject,
               fmt::gmtime(static_cast<std::time_t>(expires_s_)),
               mutual ? "need one of " + options_.tls_client_ca : "need none");
  return OkStatus();
}

std::shared_ptr<grpc::ServerCredentials> ServerTls::Credentials() const {
  namespace tls = grpc::experimental;
  const bool mutual = !options_.tls_client_ca.empty();
  tls::TlsServerCredentialsOptions out(std::make_shared<tls::FileWatcherCertificateProvider>(
      identity_.path(), identity_.path(), mutual ? authorities_.path() : "", kRefreshSeconds));
  out.watch_identity_key_cert_pairs();
  if (mutual) out.watch_root_certs();
  out.set_cert_request_type(mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(out);
}

}  // namespace precis
