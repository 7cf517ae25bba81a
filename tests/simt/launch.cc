#include "tests/simt/launch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace precis::simt {
namespace {

// Exactly as large as asked for, so that the address sanitizer sees the first byte behind it.
struct SharedMemory {
  explicit SharedMemory(size_t size) : bytes(size) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, size == 0 ? 1 : size) != 0) throw std::bad_alloc();
    data = static_cast<std::byte*>(memory);
  }
  ~SharedMemory() { std::free(data); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void Poison() { std::memset(data, 0xff, bytes); }

  size_t bytes;
  std::byte* data = nullptr;
};

struct Grid {
  Index3 grid{};
  Index3 block{};
  size_t shared_bytes = 0;
  const std::function<void()>* body = nullptr;
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::exception_ptr fault;  // the first
};

Index3 BlockIndex(const Grid& g, uint64_t i) {
  const uint64_t k = CurrentConfig().order == Order::kReverse ? g.grid.count() - 1 - i : i;
  return {static_cast<unsigned>(k % g.grid.x), static_cast<unsigned>(k / g.grid.x % g.grid.y),
          static_cast<unsigned>(k / g.grid.x / g.grid.y)};
}

void RunBlocks(Grid* g) {
  thread_local const auto block = std::make_unique<Block>();
  SharedMemory shared(g->shared_bytes);
  const Config config = CurrentConfig();
  for (uint64_t i; (i = g->next++) < g->grid.count();) {
    shared.Poison();
    try {
      block->Run(g->grid, g->block, BlockIndex(*g, i), shared.data, config.order,
                 (config.seed + static_cast<uint32_t>(i)) * 2654435761u, *g->body);
    } catch (...) {
      const std::lock_guard lock(g->mutex);
      if (g->fault == nullptr) g->fault = std::current_exception();
      g->next = g->grid.count();
    }
  }
}

}  // namespace

Config& CurrentConfig() {
  static Config config;
  return config;
}

std::vector<Config> Schedules() {
  return {{.order = Order::kForward},
          {.order = Order::kReverse},
          {.order = Order::kEager},
          {.order = Order::kRandom, .seed = 7}};
}

std::string NameOf(const Config& config) {
  if (config.order == Order::kForward) return "forward";
  if (config.order == Order::kReverse) return "reverse";
  if (config.order == Order::kEager) return "eager";
  return "random " + std::to_string(config.seed);
}

void InAllSchedules(const std::function<void()>& test) {
  const Config before = CurrentConfig();
  for (const Config& config : Schedules()) {
    CurrentConfig() = config;
    CurrentConfig().workers = before.workers;
    test();
  }
  CurrentConfig() = before;
}

void RunGrid(Index3 grid, Index3 block, size_t shared_bytes, const std::function<void()>& body) {
  if (block.count() == 0 || block.count() > kMaxThreads || shared_bytes > kMaxSharedBytes ||
      grid.count() == 0 || grid.y > 65535 || grid.z > 65535) {
    throw std::runtime_error("invalid launch configuration");
  }
  Grid g;
  g.grid = grid;
  g.block = block;
  g.shared_bytes = shared_bytes;
  g.body = &body;
  if (CurrentConfig().workers <= 1) {
    RunBlocks(&g);
  } else {
    std::vector<std::thread> workers;
    for (uint32_t i = 0; i < CurrentConfig().workers; ++i) workers.emplace_back(RunBlocks, &g);
    for (std::thread& worker : workers) worker.join();
  }
  if (g.fault != nullptr) std::rethrow_exception(g.fault);
}

}  // namespace precis::simt
