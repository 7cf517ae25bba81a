#include "cli/client/peer_probe.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace precis::cli {
namespace {

constexpr timeval kTimeout{.tv_sec = 1, .tv_usec = 0};
// A hello of TLS 1.2 that a server can go on with: gRPC hangs up on others without an alert.
// clang-format off
constexpr unsigned char kHello[] = {
    0x16, 0x03, 0x01, 0x00, 0x60,              // record: handshake, 96 bytes
    0x01, 0x00, 0x00, 0x5c, 0x03, 0x03,        // client hello, 92 bytes, TLS 1.2
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // random
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x00,                                      // no session
    0x00, 0x06, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x30,  // ECDHE with AES-GCM
    0x01, 0x00,                                // no compression
    0x00, 0x2d,                                // extensions, 45 bytes
    0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18,  // groups
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00,        // points, not compressed
    0x00, 0x0d, 0x00, 0x0e, 0x00, 0x0c, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01,  // signatures
    0x05, 0x03, 0x08, 0x05, 0x05, 0x01,
    0x00, 0x10, 0x00, 0x05, 0x00, 0x03, 0x02, 0x68, 0x32};                   // ALPN: h2
// clang-format on
static_assert(sizeof(kHello) == 5 + 0x60);

constexpr unsigned char kTlsAlert = 0x15;
constexpr unsigned char kTlsHandshake = 0x16;
constexpr unsigned char kHttp2Settings = 0x04;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    // Connecting, too, waits no longer than this for sending.
    if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kTimeout, sizeof(kTimeout));
    if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof(kTimeout));
  }
  Socket(Socket&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

Socket ConnectUnix(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Socket(-1);
  std::memcpy(address.sun_path, path.data(), path.size());
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(socket.fd(), generic, sizeof(address)) == 0 ? std::move(socket) : Socket(-1);
}

Socket ConnectTcp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return Socket(-1);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {  // localhost has two
    Socket socket(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    if (::connect(socket.fd(), at->ai_addr, at->ai_addrlen) == 0) return socket;
  }
  return Socket(-1);
}

Socket ConnectTo(std::string_view server) {
  if (server.starts_with("unix:")) return ConnectUnix(server.substr(5));
  if (server.starts_with("dns:///")) server.remove_prefix(7);
  const size_t colon = server.rfind(':');
  if (colon == std::string_view::npos) return Socket(-1);
  std::string_view host = server.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return ConnectTcp(std::string(host), std::string(server.substr(colon + 1)));
}

}  // namespace

PeerSpeech AskPeer(const std::string& server) {
  const Socket socket = ConnectTo(server);
  if (socket.fd() < 0) return PeerSpeech::kUnknown;
  if (::send(socket.fd(), kHello, sizeof(kHello), MSG_NOSIGNAL) != sizeof(kHello)) {
    return PeerSpeech::kUnknown;
  }
  std::array<unsigned char, 4> start{};
  const ssize_t got = ::recv(socket.fd(), start.data(), start.size(), MSG_WAITALL);
  if (got != static_cast<ssize_t>(start.size())) return PeerSpeech::kUnknown;
  const bool is_record = start[0] == kTlsAlert || start[0] == kTlsHandshake;
  if (is_record && start[1] == 0x03) return PeerSpeech::kTls;
  // HTTP/2 begins with settings: a length of three bytes, then the frame's type.
  return start[0] == 0 && start[3] == kHttp2Settings ? PeerSpeech::kPlain : PeerSpeech::kUnknown;
}

std::string TlsMismatch(const std::string& server, bool encrypted) {
  const PeerSpeech speech = AskPeer(server);
  if (speech == PeerSpeech::kTls && !encrypted) {
    return fmt::format("  {} speaks TLS: say --tls-ca FILE (or: system)\n", server);
  }
  if (speech == PeerSpeech::kPlain && encrypted) {
    return fmt::format("  {} does not speak TLS: leave out --tls-ca (and PRECIS_TLS_CA)\n", server);
  }
  return "";
}

}  // namespace precis::cli
