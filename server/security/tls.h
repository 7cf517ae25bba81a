// The server's side of TLS: its certificate and key, and the authorities of its clients. A reload
// changes what new connections see; bad files change nothing.
//
// Owner: the server. Thread rule: one thread at a time; gRPC reads copies in threads of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/status.h"
#include "grpcpp/security/server_credentials.h"
#include "server/config/options.h"
#include "server/security/tls_identity.h"

namespace precis {

// A file in memory under a path of this process that always holds one whole content.
class MemoryFile {
 public:
  MemoryFile() = default;
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  Status Replace(const std::string& content);
  std::string path() const;

 private:
  int fd_ = -1;
  int64_t version_ = 0;
};

class ServerTls {
 public:
  explicit ServerTls(const ServerOptions& options) : options_(options) {}

  // Reads and checks the files; the error names one, and what was read before stays in force. What
  // is not good now, by the clock, is an error only where something that is would be given up.
  Status Load();
  // After Load(). They follow later calls of Load() within a second.
  std::shared_ptr<grpc::ServerCredentials> Credentials() const;

  int64_t expires_s() const { return expires_s_; }

 private:
  const ServerOptions& options_;
  MemoryFile identity_;
  MemoryFile authorities_;
  Status CheckTimes(const TlsIdentity& identity, const TlsAuthorities& authorities) const;

  int64_t expires_s_ = 0;  // 0 until something is in force
};

}  // namespace precis
