#include "server/observe/inference_counters.h"

#include <algorithm>
#include <chrono>

namespace precis {

void DurationCount::Add(Duration duration) {
  ++count;
  ns += static_cast<uint64_t>(
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()));
}

void InferenceCounters::Succeeded(Duration total, const SequenceTimings& timings) {
  using std::chrono::duration_cast;
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  MutexLock lock(mutex_);
  counts_.success.Add(total);
  counts_.queue.Add(timings.queue);
  counts_.compute.Add(timings.total - timings.queue);
  counts_.outside.Add(total - timings.total);
  counts_.last_ms = static_cast<uint64_t>(duration_cast<std::chrono::milliseconds>(wall).count());
}

void InferenceCounters::Failed(Duration total) {
  MutexLock lock(mutex_);
  counts_.fail.Add(total);
}

InferenceCounts InferenceCounters::Read() const {
  MutexLock lock(mutex_);
  return counts_;
}

}  // namespace precis
