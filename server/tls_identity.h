// Certificates and keys as OpenSSL reads them: checked to be usable together, and written again as
// plain PEM.
//
// Called by server/tls.cc. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace precis {

struct TlsIdentity {
  std::string pem;        // the key and, behind it, the chain
  std::string subject;    // of the certificate, for the log
  int64_t expires_s = 0;  // since the epoch
};

// INVALID_ARGUMENT naming the file that is at fault: no PEM, a key with a password, a key of
// another certificate, one too weak for TLS.
StatusOr<TlsIdentity> ReadTlsIdentity(const std::string& cert_path, const std::string& key_path);
// The certificates of `path`, at least one, as plain PEM.
StatusOr<std::string> ReadTlsAuthorities(const std::string& path);

}  // namespace precis
