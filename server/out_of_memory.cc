#include "server/out_of_memory.h"

#include <sys/resource.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <latch>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/api/machine.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr std::string_view kLine =
    "precis-server: not enough memory: an allocation failed; see --pool-bytes and --max-queue\n";

constexpr int kSharedArenas = 2;
// What gRPC starts at once and when it is busy, and our own: measured with 2 CPUs were 12.
constexpr uint32_t kThreads = 16;
constexpr uint32_t kThreadsACpu = 3;

// Allocates nothing, and calls no logger that might.
[[noreturn]] void End() {
  const ssize_t ignored = ::write(STDERR_FILENO, kLine.data(), kLine.size());
  static_cast<void>(ignored);
  std::_Exit(1);
}

}  // namespace

void ShareArenasInSmallAddressSpaces() {
#if defined(__GLIBC__)
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  mallopt(M_ARENA_MAX, kSharedArenas);
#endif
}

Status CheckThreads() {
  const uint32_t count = kThreads + kThreadsACpu * DetectCpus();
  std::latch end(1);
  std::vector<std::thread> threads;
  threads.reserve(count);
  Status status;
  try {
    while (threads.size() < count) threads.emplace_back([&end] { end.wait(); });
  } catch (const std::system_error& error) {
    status = absl::ResourceExhaustedError(fmt::format(
        "not enough memory, or too few threads allowed (ulimit -u, pids.max of the cgroup): of {} "
        "threads that gRPC may start {} were had: {}",
        count, threads.size(), error.what()));
  }
  end.count_down();
  for (std::thread& thread : threads) thread.join();
  return status;
}

void EndWhereMemoryEnds() { std::set_new_handler(End); }

}  // namespace precis
