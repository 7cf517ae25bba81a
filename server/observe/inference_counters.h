// How many documents succeeded and failed since the start, and where the time of the successful
// ones went: what ModelStatistics reports. Documents of every method count, not those of one
// protocol.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include <cstdint>

#include "common/clock.h"
#include "common/mutex.h"
#include "engine/engine.h"

namespace precis {

struct DurationCount {
  uint64_t count = 0;
  uint64_t ns = 0;  // of all of them together
  void Add(Duration duration);
};

struct InferenceCounts {
  DurationCount success;  // arrival to outcome
  DurationCount fail;     // refused and cancelled ones included
  // Of those that succeeded, and adding up to `success`:
  DurationCount queue;    // submitted to first encoder work
  DurationCount compute;  // first encoder work to last token
  DurationCount outside;  // before and after the engine: mostly tokenizing
  uint64_t last_ms = 0;   // when one last succeeded, since 1970; 0: never
};

class InferenceCounters {
 public:
  void Succeeded(Duration total, const SequenceTimings& timings);
  void Failed(Duration total);
  InferenceCounts Read() const;

 private:
  mutable Mutex mutex_;
  InferenceCounts counts_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
