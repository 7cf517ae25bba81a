// Runs a kernel on the host, block after block, and says how: the schedule of a test.
//
// Called by tests and by what PRECIS_LAUNCH becomes under emulation. Thread rule: one launch at a
// time; Config is the test thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/simt/block.h"

struct precis_emulated_stream;

namespace precis::simt {

struct Config {
  Order order = Order::kForward;
  uint32_t seed = 1;     // of kRandom
  uint32_t workers = 1;  // OS threads that run blocks; 1 where shared memory is `static`
};

// What the next launches run under.
Config& CurrentConfig();

// One of each order. A missing barrier gives a wrong result in some of them.
std::vector<Config> Schedules();
std::string NameOf(const Config& config);

// Calls `test` under each schedule, and sets the configuration back.
void InAllSchedules(const std::function<void()>& test);

// `body` once for each thread of the grid. Dynamic shared memory begins as NaN. Throws
// std::runtime_error when a block's threads can never end or the launch is not valid.
void RunGrid(Index3 grid, Index3 block, size_t shared_bytes, const std::function<void()>& body);

// On a stream of the emulated runtime (tests/simt/runtime.h) when that is waited for; without one
// at once, in the host's memory.
void LaunchOn(precis_emulated_stream* stream, const void* kernel, std::function<void()> launch);

template <typename... P, typename... A>
void Launch(void (*kernel)(P...), Index3 grid, Index3 block, size_t shared_bytes,
            precis_emulated_stream* stream, A&&... args) {
  const std::tuple<P...> values{static_cast<P>(args)...};  // as the device copies them
  LaunchOn(stream, reinterpret_cast<const void*>(kernel),
           [=] { RunGrid(grid, block, shared_bytes, [&] { std::apply(kernel, values); }); });
}

}  // namespace precis::simt
