// Certificates and keys as OpenSSL reads them: checked to be usable together, and written again as
// plain PEM.
//
// Called by server/security/tls.cc. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace precis {

struct TlsIdentity {
  std::string pem;        // the key and, after it, the chain
  std::string subject;    // of the certificate, for the log
  int64_t starts_s = 0;   // since the epoch: when it and the one that signed it are both good,
  int64_t expires_s = 0;  // and until when
};

// INVALID_ARGUMENT naming the file that is at fault: no PEM, a key with a password, a key of
// another certificate, one too weak for TLS.
StatusOr<TlsIdentity> ReadTlsIdentity(const std::string& cert_path, const std::string& key_path);
struct TlsAuthorities {
  std::string pem;
  int64_t starts_s = 0;   // since the epoch: when the first of them is good,
  int64_t expires_s = 0;  // and until when one still is
};
// The certificates of `path`, at least one, as plain PEM.
StatusOr<TlsAuthorities> ReadTlsAuthorities(const std::string& path);

// INVALID_ARGUMENT naming `path` when a client that looks at the clock would refuse what is good
// from `starts_s` until `expires_s` only.
Status CheckTime(const std::string& path, int64_t starts_s, int64_t expires_s, int64_t now_s);

}  // namespace precis
