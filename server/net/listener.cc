#include "server/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "fmt/format.h"
#include "server/config/address.h"

namespace precis {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kBacklog = 512;

// For the life of a scope. The mask is the process's: used at start only, before anything else
// makes files.
class FileMask {
 public:
  explicit FileMask(mode_t mask) : before_(umask(mask)) {}
  ~FileMask() { umask(before_); }
  FileMask(const FileMask&) = delete;
  FileMask& operator=(const FileMask&) = delete;

 private:
  const mode_t before_;
};

std::string WhyNotHost(int error, int port) {
  switch (error) {
    case EADDRINUSE:
      return "another process listens there, or on all addresses with this port";
    case EADDRNOTAVAIL:
      return "this machine has no such address";
    case EACCES:
      return port < 1024 ? "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
                         : "no permission";
    case EAFNOSUPPORT:
      return "this machine does not speak that kind of address";
    default:
      return std::strerror(error);
  }
}

std::string WhyNotUnix(int error, const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  switch (error) {
    case ENOENT:
      return fmt::format("there is no folder {}", folder);
    case ENOTDIR:
      return fmt::format("{} is no folder", folder);
    case EACCES:
      return fmt::format("no permission to make it in {}", folder.empty() ? "." : folder);
    case EROFS:
      return fmt::format("{} is on a file system that is read-only", folder);
    default:
      return std::strerror(error);
  }
}

// Makes way for a socket at `path`: only a socket without a listener is removed.
Status ClearPath(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return OkStatus();
  if (!S_ISSOCK(info.st_mode)) {
    return FailedPrecondition("a file is there that is no socket; move it away");
  }
  if (UnixSocketIsTaken(fmt::format("{}{}", kUnix, path))) {
    return Unavailable("a server answers there");
  }
  if (unlink(path.c_str()) != 0) {
    return Unavailable(
        fmt::format("a socket is left over there and cannot be removed: {}", std::strerror(errno)));
  }
  return OkStatus();
}

// All options are set before the socket can be reached.
StatusOr<Descriptor> Bound(const sockaddr* address, socklen_t size, bool both_families,
                           int* error) {
  Descriptor fd(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1, v6_only = both_families ? 0 : 1;
  bool good = bool(fd);
  if (address->sa_family != AF_UNIX) {
    good = good && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    good = good && setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0;
  }
  if (address->sa_family == AF_INET6) {
    good = good && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) == 0;
  }
  good = good && bind(fd.get(), address, size) == 0 && listen(fd.get(), kBacklog) == 0;
  if (good) return fd;
  *error = errno;
  return Unavailable(std::strerror(*error));
}

SocketAddress NameOf(int fd) {
  SocketAddress out;
  getsockname(fd, out.get(), &out.size);
  return out;
}

std::string HostOf(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
    return {reinterpret_cast<const char*>(&in), sizeof(in)};
  }
  const auto& in6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return {reinterpret_cast<const char*>(&in6), sizeof(in6)};
}

int PortOf(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
  }
  if (address.family() == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
  }
  return 0;
}

// Whether one of `sockets` has this address already.
bool IsBound(const std::vector<Descriptor>& sockets, const addrinfo* info) {
  for (const Descriptor& fd : sockets) {
    const SocketAddress name = NameOf(fd.get());
    if (HostOf(name.get()) == HostOf(info->ai_addr)) return true;
  }
  return false;
}

void SetPort(sockaddr* address, int port) {
  if (address->sa_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(static_cast<uint16_t>(port));
  }
}

}  // namespace

StatusOr<Listener> Listener::Open(const std::string& address, std::string_view option,
                                  unsigned unix_mode) {
  PRECIS_RETURN_IF_ERROR(Annotate(CheckAddress(address), option));
  Listener out;
  Status status;
  if (address.starts_with(kUnix)) {
    status = out.OpenUnix(address.substr(kUnix.size()), unix_mode);
  } else {
    const auto colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    status = out.OpenHost(host, address.substr(colon + 1));
  }
  if (!status.ok()) {
    return Annotate(status, fmt::format("{}: cannot listen on {}", option, address));
  }
  return out;
}

Status Listener::OpenUnix(const std::string& path, unsigned mode) {
  PRECIS_RETURN_IF_ERROR(ClearPath(path));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());  // CheckAddress knows that it fits
  int error = 0;
  {
    const FileMask mask(0777 & ~mode);
    auto bound = Bound(reinterpret_cast<const sockaddr*>(&name), sizeof(name), false, &error);
    if (!bound.ok()) return Unavailable(WhyNotUnix(error, path));
    sockets_.push_back(*std::move(bound));
  }
  path_ = path;
  local_ = NameOf(sockets_[0].get());
  return OkStatus();
}

Status Listener::OpenHost(const std::string& host, const std::string& port) {
  // Either word for "all addresses" means those of both families, where the machine has both.
  const bool all = host == "0.0.0.0" || host == "::";
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int failed = getaddrinfo(all ? nullptr : host.c_str(), port.c_str(), &hints, &raw);
  if (failed != 0) {
    return Unavailable(fmt::format("{} is no address and no name that is known here: {}", host,
                                   gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> found(raw, freeaddrinfo);
  int error = EADDRNOTAVAIL;
  for (const int family : {AF_INET6, AF_INET}) {
    for (addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
      if (info->ai_family != family) continue;
      if (IsBound(sockets_, info)) continue;  // a name may stand twice in /etc/hosts
      // With port 0 the first one chooses for all.
      if (port_ != 0) SetPort(info->ai_addr, port_);
      auto bound = Bound(info->ai_addr, info->ai_addrlen, all, &error);
      // A name may have addresses that the machine lacks; one that is taken is never passed over.
      if (!bound.ok() && error != EADDRNOTAVAIL && error != EAFNOSUPPORT) {
        return Unavailable(WhyNotHost(error, std::atoi(port.c_str())));
      }
      if (!bound.ok()) continue;
      sockets_.push_back(*std::move(bound));
      local_ = NameOf(sockets_.back().get());
      port_ = PortOf(local_);
      if (all) break;
    }
    if (all && !sockets_.empty()) break;
  }
  if (sockets_.empty()) return Unavailable(WhyNotHost(error, std::atoi(port.c_str())));
  if (all) {
    // A client cannot connect to "all addresses", and ::1 may be missing where [::] can be bound.
    local_ = {.storage = {}, .size = sizeof(sockaddr_in)};
    auto* in = reinterpret_cast<sockaddr_in*>(&local_.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(static_cast<uint16_t>(port_));
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  return OkStatus();
}

void Listener::Close() {
  if (sockets_.empty()) return;
  sockets_.clear();
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

}  // namespace precis
