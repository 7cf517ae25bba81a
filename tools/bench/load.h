// Load on something that summarizes: requests sent at given times, and what each of them took.
//
// Owner: a benchmark. Thread rule: one thread; a target may hear of its requests on threads of its
// own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"

namespace precis {

struct LoadRequest {
  std::vector<int32_t> source_ids;
  uint32_t new_tokens = 1;  // exactly: no end before
};

// Seconds since the request was sent; those of a request that was given up since it was due.
struct LoadOutcome {
  size_t index = 0;                   // of the request
  double first_token_s = 0;           // 0: there was none
  double total_s = 0;                 // to the end, or until it was given up
  std::vector<double> inter_token_s;  // between tokens that arrived apart
  bool finished = false;              // with all of its tokens; else given up, or refused
};

class LoadTarget {
 public:
  virtual ~LoadTarget() = default;
  // Sends a request and returns at once.
  virtual Status Send(size_t index, const LoadRequest& request) = 0;
  // Appends the outcomes of requests that have finished, or were refused for the load. An error
  // where one has failed, or has not got exactly its tokens.
  virtual Status Take(std::vector<LoadOutcome>* outcomes) = 0;
  // Gives up what has not finished, and waits until it is gone.
  virtual void GiveUp() = 0;
};

// Sends requests[i] at due_s[i] (ascending) and waits for their ends. Times count from when a
// request was due: if we are late ourselves, it has waited. After `limit_s` the rest is given up.
// Outcomes lie at their index. `on_ended` hears now and then how many have ended.
StatusOr<std::vector<LoadOutcome>> RunLoad(LoadTarget& target,
                                           const std::vector<LoadRequest>& requests,
                                           const std::vector<double>& due_s, double limit_s,
                                           const std::function<void(size_t)>& on_ended);

// RunLoad() on some target, or what stands for it: a simulated one has no time of its own.
using LoadRunner = std::function<StatusOr<std::vector<LoadOutcome>>(
    const std::vector<LoadRequest>& requests, const std::vector<double>& due_s, double limit_s,
    const std::function<void(size_t)>& on_ended)>;

// `tokens` random ids of 10 to 500, or of what the vocabulary has, and T5's </s> last.
std::vector<int32_t> RandomSource(uint64_t seed, uint32_t tokens, uint32_t vocab_size);

}  // namespace precis
