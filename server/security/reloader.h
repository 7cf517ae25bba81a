// Reads files again when they change, or on request. What cannot be used leaves the old
// content in force; the log says why, a metric stays up until it can, and it is tried again: a
// certificate may be good later than its file is there.
//
// Owner: the server. Thread rule: has a thread of its own; ReloadAll from any.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "server/observe/metrics.h"

namespace precis {

class Reloader {
 public:
  struct Part {
    Reloaded what;
    std::vector<std::string> files;
    std::function<Status()> load;
  };
  // A file is read again when it has changed and then stood still for one `interval`.
  Reloader(std::vector<Part> parts, Duration interval, ServerMetrics& metrics);
  ~Reloader();

  // Reads everything now; the log says so where there is nothing to read. The first error; the
  // other parts are read all the same.
  Status ReloadAll();

 private:
  struct Watched {
    Part part;
    std::string loaded;  // stamps of the files when they were read
    std::string seen;    // when they were last looked at
    Status last;         // what came of it
  };
  static std::string StampOf(const Part& part);
  void Loop();
  Status Reload(Watched& watched) PRECIS_REQUIRES(mutex_);
  void TryAgain(Watched& watched) PRECIS_REQUIRES(mutex_);
  Status Record(Watched& watched, const Status& status) PRECIS_REQUIRES(mutex_);

  const Duration interval_;
  ServerMetrics& metrics_;
  Mutex mutex_;
  std::vector<Watched> watched_ PRECIS_GUARDED_BY(mutex_);
  CondVar wake_;
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
