// std::mutex and std::condition_variable with clang's thread-safety attributes. Ours, because
// ThreadSanitizer sees std::mutex but not the mutex of a packaged, uninstrumented library.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define PRECIS_TSA(x) __attribute__((x))
#else
#define PRECIS_TSA(x)
#endif

#define PRECIS_GUARDED_BY(m) PRECIS_TSA(guarded_by(m))
#define PRECIS_REQUIRES(m) PRECIS_TSA(requires_capability(m))
#define PRECIS_EXCLUDES(m) PRECIS_TSA(locks_excluded(m))

namespace precis {

class PRECIS_TSA(capability("mutex")) Mutex {
 public:
  void Lock() PRECIS_TSA(acquire_capability()) { mutex_.lock(); }
  void Unlock() PRECIS_TSA(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class PRECIS_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PRECIS_TSA(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() PRECIS_TSA(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  void Wait(Mutex& mutex) PRECIS_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False when the time passed without a notification.
  bool WaitFor(Mutex& mutex, std::chrono::nanoseconds timeout) PRECIS_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    // wait_until on the system clock: ThreadSanitizer of GCC 12 and clang 14 does not know
    // pthread_cond_clockwait, which wait_for calls.
    const bool notified = cv_.wait_until(lock, std::chrono::system_clock::now() + timeout) ==
                          std::cv_status::no_timeout;
    lock.release();
    return notified;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace precis
