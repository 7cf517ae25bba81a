// What the engine says about itself: gauges and counters in a snapshot, and an observer for what
// belongs into histograms. Knows nothing of Prometheus. Thread rule: a snapshot is a value; the
// observer is called by the step thread and must be quick.
#pragma once

#include <cstdint>

namespace precis {

struct EngineStats {
  // now
  uint32_t waiting = 0;  // accepted, no encoder work yet
  uint32_t encoding = 0;
  uint32_t decoding = 0;
  uint32_t pages_total = 0;
  uint32_t pages_self = 0;    // leased
  uint32_t pages_cross = 0;   // leased, of documents with a reader
  uint32_t pages_cached = 0;  // leased, of documents kept for the next request
  uint32_t cached_documents = 0;
  uint64_t queue_tokens = 0;    // source tokens + beams x new tokens, accepted and unfinished
  uint32_t pages_promised = 0;  // promised to running sequences, not leased yet
  uint32_t pages_peak = 0;      // most pages leased at once since start, cached ones included
  uint64_t page_bytes = 0;
  // since start
  uint64_t steps = 0;
  uint64_t decode_steps = 0;  // steps that decoded at least one row
  uint64_t decode_rows = 0;   // so decode_rows / decode_steps is the mean decode batch
  uint64_t encoded_tokens = 0;
  uint64_t generated_tokens = 0;
  uint64_t drafted_tokens = 0;        // fed on a guess
  uint64_t accepted_tokens = 0;       // of those, the ones that were right
  uint64_t cache_hits = 0;            // sequences whose document was there
  uint64_t cache_joins = 0;           // sequences whose document was being encoded for others
  uint64_t cache_misses = 0;          // sequences whose document was encoded for them
  uint64_t failed_steps = 0;          // the requests that they worked for have failed
  bool device_failed = false;         // for good: nothing runs any more
  double seconds_since_progress = 0;  // 0 while there is no work; the watchdog's figure
};

struct StepObservation {
  double seconds = 0;
  uint32_t decode_rows = 0;
  uint32_t encode_rows = 0;
};

class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnStep(const StepObservation& step) = 0;
  virtual void OnInterTokenSeconds(double seconds) = 0;
};

}  // namespace precis
