#include "server/security/reloader.h"

#include <utility>

#include "common/log.h"
#include "server/security/guarded_file.h"

namespace precis {

Reloader::Reloader(std::vector<Part> parts, Duration interval, ServerMetrics& metrics)
    : interval_(interval), metrics_(metrics) {
  MutexLock lock(mutex_);
  for (Part& part : parts) {
    const std::string stamp = StampOf(part);
    watched_.push_back(
        {.part = std::move(part), .loaded = stamp, .seen = stamp, .last = OkStatus()});
  }
  if (!watched_.empty()) thread_ = std::thread([this] { Loop(); });
}

Reloader::~Reloader() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

std::string Reloader::StampOf(const Part& part) {
  std::string stamp;
  for (const std::string& file : part.files) stamp += FileStamp(file) + "\n";
  return stamp;
}

Status Reloader::ReloadAll() {
  Status first;
  MutexLock lock(mutex_);
  if (watched_.empty()) {
    spdlog::info("reload: there is nothing to read again: neither --auth-tokens nor --tls-cert");
  }
  for (Watched& watched : watched_) {
    const Status status = Reload(watched);
    if (first.ok()) first = status;
  }
  return first;
}

void Reloader::Loop() {
  MutexLock lock(mutex_);
  while (!stop_) {
    wake_.WaitFor(mutex_, interval_);
    if (stop_) return;
    for (Watched& watched : watched_) {
      const std::string now = StampOf(watched.part);
      // Somebody may be writing: only what did not change since the last look is read.
      const bool still = now == std::exchange(watched.seen, now);
      // Its outcome is in the log and in the metrics.
      if (still && now != watched.loaded) {
        Reload(watched).IgnoreError();
      } else if (still && !watched.last.ok()) {
        TryAgain(watched);
      }
    }
  }
}

Status Reloader::Reload(Watched& watched) {
  // Taken before the files are read: a change meanwhile is seen at the next look.
  watched.loaded = StampOf(watched.part);
  watched.seen = watched.loaded;
  return Record(watched, watched.part.load());
}

// The same failure of the same files is neither logged nor counted again.
void Reloader::TryAgain(Watched& watched) {
  const Status status = watched.part.load();
  if (status != watched.last) Record(watched, status).IgnoreError();
}

Status Reloader::Record(Watched& watched, const Status& status) {
  watched.last = status;
  metrics_.CountReload(watched.part.what, status.ok());
  if (status.ok()) {
    spdlog::info("reload: {} were read again", ReloadedName(watched.part.what));
  } else {
    spdlog::error("reload: {} stay as they were: {}", ReloadedName(watched.part.what),
                  std::string(status.message()));
  }
  return status;
}

}  // namespace precis
