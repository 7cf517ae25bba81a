// Calls that have nothing in the engine, because it is full, and something to submit: woken when
// there may be room.
//
// Owner: the summarizer, the engine's only customer. Thread rule: any thread.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace precis {

class WaitingCalls {
 public:
  // `wake` is called once, from any thread, after a sequence has ended. Ask the engine once more
  // after this: the last one may have ended just before.
  void Add(std::function<void()> wake) {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(wake));
  }

  // A sequence has ended.
  void WakeAll() {
    std::vector<std::function<void()>> woken;
    {
      MutexLock lock(mutex_);
      woken.swap(waiting_);
    }
    for (const auto& wake : woken) wake();
  }

 private:
  Mutex mutex_;
  std::vector<std::function<void()>> waiting_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
