// A bounded queue of many producers and one or more consumers. Full is an answer, not a wait: the
// producer is a thread that answers requests. Thread rule: any thread.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "common/mutex.h"

namespace precis {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // False when the queue is full or closed; `value` is then untouched.
  bool TryPush(T&& value) {
    {
      MutexLock lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(value));
    }
    ready_.NotifyOne();
    return true;
  }

  std::optional<T> TryPop() {
    MutexLock lock(mutex_);
    return PopLocked();
  }

  // Waits for an item; empty when the queue was closed and has none left.
  std::optional<T> Pop() {
    MutexLock lock(mutex_);
    while (items_.empty() && !closed_) ready_.Wait(mutex_);
    return PopLocked();
  }

  // No further push succeeds; what is in the queue can still be popped.
  void Close() {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    ready_.NotifyAll();
  }

  size_t size() const {
    MutexLock lock(mutex_);
    return items_.size();
  }

 private:
  std::optional<T> PopLocked() PRECIS_REQUIRES(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    return value;
  }

  const size_t capacity_;
  mutable Mutex mutex_;
  CondVar ready_;
  std::deque<T> items_ PRECIS_GUARDED_BY(mutex_);
  bool closed_ PRECIS_GUARDED_BY(mutex_) = false;
};

}  // namespace precis
