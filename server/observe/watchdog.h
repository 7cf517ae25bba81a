// Looks whether the engine steps while it has work. When it does not, health goes off, so that a
// balancer sends requests elsewhere; when it steps again, health comes back. When the device has
// failed, health goes off for good.
//
// Owner: the server. Thread rule: has a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "engine/api/engine_stats.h"
#include "server/observe/health.h"
#include "server/observe/metrics.h"

namespace precis {

class Watchdog {
 public:
  // timeout 0: only the device is looked after.
  Watchdog(Duration timeout, std::function<EngineStats()> stats, Health& health,
           ServerMetrics& metrics);
  ~Watchdog();

 private:
  void Loop();
  void Look();
  void LookForSteps(double seconds_since_progress);

  const Duration timeout_;
  const std::function<EngineStats()> stats_;
  Health& health_;
  ServerMetrics& metrics_;
  bool stalled_ = false;        // of the thread
  bool device_failed_ = false;  // likewise
  Mutex mutex_;
  CondVar wake_;
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
