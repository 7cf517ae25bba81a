// How many connections the server keeps open, well below the descriptors that the process may have:
// gRPC 1.51 stops listening for ever once it meets that limit.
//
// Called at start. Thread rule: functions without state.
#pragma once

#include <cstdint>

#include "server/config/options.h"

namespace precis {

struct ConnectionLimits {
  uint32_t total = 1;
  uint32_t per_address = 1;  // of one IPv4 address, or of one IPv6 /64
  // What one may send while the server sends nothing; 0: any. A whole message is not too much.
  uint64_t unanswered_bytes = 0;
};

// Raises the process's soft limit of descriptors as far as it may. Returns what it is then.
uint64_t RaiseDescriptorLimit();

// Of --listen, when the process may have so many descriptors; the log says what bounds it.
ConnectionLimits ChooseConnectionLimits(const ServerOptions& options, uint64_t descriptors);
// Of --health-listen and --admin-socket, whose clients are few.
ConnectionLimits SidePortLimits(uint64_t descriptors);

}  // namespace precis
