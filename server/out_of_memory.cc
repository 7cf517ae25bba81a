#include "server/out_of_memory.h"

#include <unistd.h>

#include <cstdlib>
#include <new>
#include <string_view>

namespace precis {
namespace {

constexpr std::string_view kLine =
    "precis-server: not enough memory: an allocation failed; see --pool-bytes and --max-queue\n";

// Allocates nothing, and calls no logger that might.
[[noreturn]] void End() {
  const ssize_t ignored = ::write(STDERR_FILENO, kLine.data(), kLine.size());
  static_cast<void>(ignored);
  std::_Exit(1);
}

}  // namespace

void EndWhereMemoryEnds() { std::set_new_handler(End); }

}  // namespace precis
