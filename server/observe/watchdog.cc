#include "server/observe/watchdog.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"

namespace precis {

Watchdog::Watchdog(Duration timeout, std::function<EngineStats()> stats, Health& health,
                   ServerMetrics& metrics)
    : timeout_(timeout), stats_(std::move(stats)), health_(health), metrics_(metrics) {
  thread_ = std::thread([this] { Loop(); });
}

Watchdog::~Watchdog() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

void Watchdog::Loop() {
  // Often enough to be late by a quarter at most, seldom enough to cost nothing.
  constexpr Duration kLongest = std::chrono::seconds(1);
  const Duration interval =
      timeout_.count() == 0
          ? kLongest
          : std::clamp<Duration>(timeout_ / 4, std::chrono::milliseconds(10), kLongest);
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stop_) return;
      wake_.WaitFor(mutex_, interval);
      if (stop_) return;
    }
    Look();
  }
}

void Watchdog::Look() {
  const EngineStats stats = stats_();
  if (stats.device_failed && !device_failed_) {
    device_failed_ = true;
    health_.SetDeviceFailed();
    spdlog::error(
        "watchdog: the device has failed; health is off until the server is started anew");
  }
  if (timeout_.count() > 0) LookForSteps(stats.seconds_since_progress);
}

void Watchdog::LookForSteps(double seconds) {
  const bool stalled = seconds > Seconds(timeout_);
  if (stalled == stalled_) return;
  stalled_ = stalled;
  health_.SetStalled(stalled);
  if (stalled) {
    metrics_.CountWatchdogTrip();
    spdlog::error("watchdog: work and no step for {:.1f} s; health is off", seconds);
  } else {
    spdlog::info("watchdog: the engine steps again; health is on");
  }
}

}  // namespace precis
