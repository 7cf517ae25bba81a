// How many bytes went each way over a TCP connection, by the kernel's count.
//
// Called by the acceptor. Thread rule: functions without state.
#pragma once

#include <cstdint>
#include <optional>

namespace precis {

struct TcpProgress {
  uint64_t received = 0;  // bytes, since the connection was made
  uint64_t sent = 0;      // likewise; acknowledgements alone are no bytes
};

// Nothing for a socket that is not TCP, or where the kernel does not count.
std::optional<TcpProgress> ReadTcpProgress(int fd);

}  // namespace precis
