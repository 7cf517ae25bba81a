// Looks whether the engine steps while it has work. When it does not, health goes off, so that a
// balancer sends requests elsewhere; when it steps again, health comes back.
//
// Owner: the server. Thread rule: has a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "server/health.h"
#include "server/metrics.h"

namespace precis {

class Watchdog {
 public:
  // `seconds_since_progress` is EngineStats' figure: 0 while there is no work.
  Watchdog(Duration timeout, std::function<double()> seconds_since_progress, Health& health,
           ServerMetrics& metrics);
  ~Watchdog();

 private:
  void Loop();
  void Look();

  const Duration timeout_;
  const std::function<double()> seconds_since_progress_;
  Health& health_;
  ServerMetrics& metrics_;
  bool stalled_ = false;  // of the thread
  Mutex mutex_;
  CondVar wake_;
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
