#include "server/observe/port_watch.h"

#include <string>
#include <utility>

#include "common/log.h"

namespace precis {

PortWatch::PortWatch(Duration interval, std::function<Status()> ask, Health& health,
                     ServerMetrics& metrics)
    : interval_(interval), ask_(std::move(ask)), health_(health), metrics_(metrics) {
  thread_ = std::thread([this] { Loop(); });
}

PortWatch::~PortWatch() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

void PortWatch::Loop() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stop_) return;
      wake_.WaitFor(mutex_, interval_);
      if (stop_) return;
    }
    Look();
  }
}

void PortWatch::Look() {
  Status status = ask_();
  if (!status.ok() && answers_) status = ask_();
  if (status.ok() == answers_) return;
  answers_ = status.ok();
  health_.SetUnreachable(!answers_);
  metrics_.SetPortAnswers(answers_);
  if (answers_) {
    spdlog::info("watchdog: the server's own port answers again; health is on");
  } else {
    metrics_.CountWatchdogTrip();
    spdlog::error("watchdog: the server's own port does not answer ({}); health is off",
                  std::string(status.message()));
  }
}

}  // namespace precis
