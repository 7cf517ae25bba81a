#include "server/net/tcp_progress.h"

#include <linux/tcp.h>  // newer than netinet/tcp.h, which lacks the counts; they cannot be together
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace precis {

std::optional<TcpProgress> ReadTcpProgress(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_bytes_sent) + sizeof(info.tcpi_bytes_sent)) {
    return std::nullopt;
  }
  return TcpProgress{.received = info.tcpi_bytes_received, .sent = info.tcpi_bytes_sent};
}

}  // namespace precis
