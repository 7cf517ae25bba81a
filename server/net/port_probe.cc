#include "server/net/port_probe.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "fmt/format.h"

namespace precis {
namespace {

// A client's first words, with empty SETTINGS.
constexpr std::string_view kHello{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33};
constexpr size_t kFrameHeader = 9;
constexpr char kSettings = 4;
// Of a record of TLS.
constexpr char kAlert = 21, kHandshake = 22;

Status Failed(const char* what) {
  return Unavailable(errno == EAGAIN || errno == EINPROGRESS
                         ? fmt::format("{}: no answer in time", what)
                         : fmt::format("{}: {}", what, std::strerror(errno)));
}

// The target's own address, any port: one that surely can reach it.
SocketAddress SourceFor(const SocketAddress& target) {
  SocketAddress source = target;
  if (source.family() == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&source.storage)->sin_port = 0;
  } else if (source.family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&source.storage)->sin6_port = 0;
  } else {
    source.size = sizeof(sa_family_t);  // the kernel chooses an abstract name
  }
  return source;
}

Status CheckHello(std::string_view got) {
  if (got.size() == kFrameHeader && got[3] == kSettings) return OkStatus();
  return Unavailable(got.empty() ? "it was closed without an answer"
                                 : "the answer is not that of a gRPC server");
}

Status AskPlain(int fd) {
  if (send(fd, kHello.data(), kHello.size(), MSG_NOSIGNAL) < 0) return Failed("sending");
  char answer[kFrameHeader];
  size_t size = 0;
  while (size < sizeof(answer)) {
    const ssize_t got = recv(fd, answer + size, sizeof(answer) - size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("waiting for an answer");
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  return CheckHello({answer, size});
}

// Says hello and sees whether TLS answers. It goes no further: a server that demands certificates
// would refuse this client, and log it, each time.
Status AskTls(int fd) {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                             SSL_CTX_free);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(
      context == nullptr ? nullptr : SSL_new(context.get()), SSL_free);
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    BIO_free(in);
    BIO_free(out);
    return Internal("OpenSSL has no memory for TLS");
  }
  SSL_set_bio(ssl.get(), in, out);  // its own from here on
  constexpr unsigned char kProtocols[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), kProtocols, sizeof(kProtocols));
  SSL_connect(ssl.get());  // writes the hello, and wants an answer
  char* hello = nullptr;
  const long size = BIO_get_mem_data(out, &hello);
  if (send(fd, hello, static_cast<size_t>(size), MSG_NOSIGNAL) < 0) return Failed("sending");
  char type = 0;
  const ssize_t got = recv(fd, &type, 1, 0);
  if (got < 0) return Failed("waiting for an answer");
  if (got == 0) return Unavailable("it was closed without an answer");
  return type == kHandshake || type == kAlert ? OkStatus() : Unavailable("the answer is not TLS");
}

}  // namespace

Status AskPort(const SocketAddress& target, bool tls, Duration timeout,
               const std::function<void(const SocketAddress&)>& expect) {
  const Descriptor fd(socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Failed("making a socket");
  const auto us = std::chrono::ceil<std::chrono::microseconds>(timeout).count();
  const timeval limit{.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));  // and for connect()
  SocketAddress source = SourceFor(target);
  if (bind(fd.get(), source.get(), source.size) != 0) return Failed("taking an address");
  source.size = sizeof(source.storage);
  if (getsockname(fd.get(), source.get(), &source.size) != 0) return Failed("taking an address");
  expect(source);
  if (connect(fd.get(), target.get(), target.size) != 0) return Failed("connecting");
  return tls ? AskTls(fd.get()) : AskPlain(fd.get());
}

}  // namespace precis
