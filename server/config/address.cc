#include "server/config/address.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <system_error>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kUnix = "unix:";

std::string_view HostOf(std::string_view address) { return address.substr(0, address.rfind(':')); }

}  // namespace

Status CheckAddress(std::string_view address) {
  if (address.starts_with(kUnix)) {
    const size_t length = address.size() - kUnix.size();
    if (length > 0 && length < sizeof(sockaddr_un::sun_path)) return OkStatus();
    return InvalidArgument(fmt::format("'{}': a socket's path has 1 to {} bytes", address,
                                       sizeof(sockaddr_un::sun_path) - 1));
  }
  const auto colon = address.rfind(':');
  bool good = colon != std::string_view::npos && colon > 0;
  if (good) {
    const char* const end = address.data() + address.size();
    uint16_t port = 0;
    const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
    good = error == std::errc() && stop == end;
  }
  if (!good) return InvalidArgument(fmt::format("'{}' is not host:port or unix:PATH", address));
  const std::string_view host = HostOf(address);
  if (host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']')) {
    return InvalidArgument(fmt::format("'{}': an IPv6 address stands in brackets", address));
  }
  return OkStatus();
}

bool IsLoopback(std::string_view address) {
  if (address.starts_with(kUnix)) return true;
  const std::string_view host = HostOf(address);
  if (host == "localhost" || host == "[::1]") return true;
  // 127.0.0.0/8, and no name that only begins like it.
  return host.starts_with("127.") &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::string ClientTarget(std::string_view address) {
  if (address.starts_with(kUnix)) return std::string(address);
  const std::string_view host = HostOf(address);
  const std::string_view port = address.substr(host.size());
  if (host == "0.0.0.0") return fmt::format("127.0.0.1{}", port);
  if (host == "[::]") return fmt::format("[::1]{}", port);
  return std::string(address);
}

bool UnixSocketIsTaken(std::string_view address) {
  if (!address.starts_with(kUnix)) return false;
  const std::string_view path = address.substr(kUnix.size());
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) return false;
  std::memcpy(name.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool taken = connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
  close(fd);
  return taken;
}

}  // namespace precis
