// A few threads that run short tasks in order of arrival: tokenizing and detokenizing, apart from
// the threads that answer gRPC and from the step thread.
//
// Owner: Summarizer. Thread rule: Add from any thread. The number of queued tasks is bounded by the
// caller: a summary call is queued at most once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace precis {

class TextPool {
 public:
  // Throws std::system_error where a thread cannot be started.
  explicit TextPool(uint32_t num_threads) {
    try {
      for (uint32_t i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
    } catch (...) {
      Close();
      throw;
    }
  }

  ~TextPool() { Close(); }

  // Runs what is queued, then ends the threads; what is added later is dropped. Idempotent.
  void Close() {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    ready_.NotifyAll();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void Add(std::function<void()> task) {
    {
      MutexLock lock(mutex_);
      if (closed_) return;
      tasks_.push_back(std::move(task));
    }
    ready_.NotifyOne();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> task;
      {
        MutexLock lock(mutex_);
        while (tasks_.empty() && !closed_) ready_.Wait(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  Mutex mutex_;
  CondVar ready_;
  std::deque<std::function<void()>> tasks_ PRECIS_GUARDED_BY(mutex_);
  bool closed_ PRECIS_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace precis
