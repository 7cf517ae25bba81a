#include "server/net/connection_limits.h"

#include <sys/resource.h>

#include <algorithm>

#include "common/log.h"
#include "server/net/wire.h"

namespace precis {
namespace {

// Files, event loops, the log, scrapes: an idle server has less than half of this.
constexpr uint64_t kReserved = 64;
// More do not help, and some libraries walk through all that there could be.
constexpr uint64_t kMostDescriptors = 1u << 16;
constexpr uint64_t kSidePort = 128;
constexpr uint64_t kFewest = 4;
// Headers and other messages that are on the way with a message.
constexpr uint64_t kBesideMessage = 2u << 20;

uint64_t Spare(uint64_t descriptors) { return descriptors - std::min(descriptors, kReserved); }

}  // namespace

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, kMostDescriptors);
  if (limit.rlim_cur < wanted) {
    const rlimit raised{.rlim_cur = wanted, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return std::min<uint64_t>(limit.rlim_cur, kMostDescriptors);
}

ConnectionLimits ChooseConnectionLimits(const ServerOptions& options, uint64_t descriptors) {
  const uint64_t possible = std::max(Spare(descriptors) * 3 / 4, kFewest);
  const uint64_t total = std::min<uint64_t>(options.max_connections, possible);
  // One address never has all of them.
  const uint64_t address =
      std::min<uint64_t>(options.max_connections_per_address, std::max<uint64_t>(total * 3 / 4, 1));
  if (total < options.max_connections) {
    spdlog::warn(
        "connections: {} instead of --max-connections {}: the process may have {} descriptors "
        "(ulimit -n)",
        total, options.max_connections, descriptors);
  }
  spdlog::info("connections: up to {}, {} of one address", total, address);
  return {.total = static_cast<uint32_t>(total),
          .per_address = static_cast<uint32_t>(address),
          .unanswered_bytes =
              std::max(options.max_unanswered_bytes, MaxMessageBytes(options) + kBesideMessage)};
}

ConnectionLimits SidePortLimits(uint64_t descriptors) {
  const auto total = static_cast<uint32_t>(std::clamp(Spare(descriptors) / 12, kFewest, kSidePort));
  return {.total = total, .per_address = total, .unanswered_bytes = kBesideMessage};
}

}  // namespace precis
