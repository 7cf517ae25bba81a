#include "server/watchdog.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"

namespace precis {

Watchdog::Watchdog(Duration timeout, std::function<double()> seconds_since_progress, Health& health,
                   ServerMetrics& metrics)
    : timeout_(timeout),
      seconds_since_progress_(std::move(seconds_since_progress)),
      health_(health),
      metrics_(metrics) {
  if (timeout_.count() > 0) thread_ = std::thread([this] { Loop(); });
}

Watchdog::~Watchdog() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Loop() {
  // Often enough to be late by a quarter at most, seldom enough to cost nothing.
  const Duration interval =
      std::clamp<Duration>(timeout_ / 4, std::chrono::milliseconds(10), std::chrono::seconds(1));
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
  const double seconds = seconds_since_progress_();
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
