// Sockets that listen at an address of ours: host:port (every address that the host has), [v6]:port
// or unix:PATH. Whatever is in the way is said as it is: in use, no such folder, no permission,
// another machine's address.
//
// Owner: who accepts on them. Thread rule: one thread at a time.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/descriptor.h"
#include "common/status.h"

namespace precis {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

class Listener {
 public:
  // UNAVAILABLE or FAILED_PRECONDITION: "OPTION: cannot listen on ADDRESS: why". A unix socket that
  // a killed process left over is replaced; it is made with `unix_mode`. Port 0 is any free one.
  static StatusOr<Listener> Open(const std::string& address, std::string_view option,
                                 unsigned unix_mode = 0777);
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  ~Listener() { Close(); }

  // The address is free afterwards, and a unix socket's path is gone. Idempotent.
  void Close();

  int port() const { return port_; }  // 0 for a unix socket
  const std::vector<Descriptor>& sockets() const { return sockets_; }
  // Where a client on this machine finds one of them.
  const SocketAddress& local() const { return local_; }

 private:
  Listener() = default;
  Status OpenUnix(const std::string& path, unsigned mode);
  Status OpenHost(const std::string& host, const std::string& port);

  std::vector<Descriptor> sockets_;
  std::string path_;  // of a unix socket
  SocketAddress local_;
  int port_ = 0;
};

}  // namespace precis
