// The calls under way, so that each of them learns of the end of the server.
//
// Owner: the server. Thread rule: any thread; a call is notified outside the lock.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "common/mutex.h"
#include "common/status.h"

namespace precis {

class LiveCall {
 public:
  virtual ~LiveCall() = default;
  // Take no more work; finish what was accepted.
  virtual void Drain() {}
  // End now, with `why`. Idempotent; after the call has ended it does nothing.
  virtual void Abort(const Status& why) = 0;
};

class LiveCalls {
 public:
  void Add(const std::shared_ptr<LiveCall>& call) {
    MutexLock lock(mutex_);
    calls_[call.get()] = call;
  }
  void Remove(LiveCall* call) {
    MutexLock lock(mutex_);
    calls_.erase(call);
  }
  bool Empty() {
    MutexLock lock(mutex_);
    return calls_.empty();
  }
  void DrainAll() {
    for (const auto& call : All()) call->Drain();
  }
  void AbortAll(const Status& why) {
    for (const auto& call : All()) call->Abort(why);
  }

 private:
  std::vector<std::shared_ptr<LiveCall>> All() {
    std::vector<std::shared_ptr<LiveCall>> out;
    MutexLock lock(mutex_);
    for (const auto& [key, weak] : calls_) {
      if (auto call = weak.lock()) out.push_back(std::move(call));
    }
    return out;
  }

  Mutex mutex_;
  // Weak: a call lives as long as gRPC or the engine needs it, not as long as this list.
  std::unordered_map<LiveCall*, std::weak_ptr<LiveCall>> calls_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
