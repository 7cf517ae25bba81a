// Asks now and then whether the server's own port still answers. When it does not, health goes off,
// so that no client is sent to a port that does not answer; when it does again, health comes back.
//
// Owner: the server. Thread rule: has a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "server/observe/health.h"
#include "server/observe/metrics.h"

namespace precis {

class PortWatch {
 public:
  // `ask` is server/net/port_probe.h's question. A failure is asked again at once: only two in a
  // row count, since a busy machine may be late.
  PortWatch(Duration interval, std::function<Status()> ask, Health& health, ServerMetrics& metrics);
  ~PortWatch();  // waits for a question under way

 private:
  void Loop();
  void Look();

  const Duration interval_;
  const std::function<Status()> ask_;
  Health& health_;
  ServerMetrics& metrics_;
  bool answers_ = true;  // of the thread
  Mutex mutex_;
  CondVar wake_;
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
