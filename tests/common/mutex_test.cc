#include "common/mutex.h"

#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

class Counter {
 public:
  void Add() {
    MutexLock lock(mutex_);
    ++value_;
    changed_.NotifyAll();
  }
  void WaitUntil(int value) {
    MutexLock lock(mutex_);
    while (value_ < value) changed_.Wait(mutex_);
  }
  bool WaitFor(std::chrono::nanoseconds timeout) {
    MutexLock lock(mutex_);
    return changed_.WaitFor(mutex_, timeout);
  }
  int value() {
    MutexLock lock(mutex_);
    return value_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int value_ PRECIS_GUARDED_BY(mutex_) = 0;
};

TEST(Mutex, LetsOneThreadInAtATime) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 5000; ++k) counter.Add();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 20000);
}

TEST(CondVar, WaitReleasesTheMutexAndTakesItAgain) {
  Counter counter;
  std::thread adder([&] {
    for (int k = 0; k < 100; ++k) counter.Add();  // would hang if Wait kept the mutex
  });
  counter.WaitUntil(100);
  adder.join();
  EXPECT_EQ(counter.value(), 100);  // would hang if Wait had not left the mutex free
}

TEST(CondVar, WaitForSaysWhenTheTimePassed) {
  Counter counter;
  const auto start = std::chrono::steady_clock::now();
  // A wake-up without cause is allowed, so wait until it says so.
  while (counter.WaitFor(std::chrono::milliseconds(5))) {
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_EQ(counter.value(), 0);  // would hang if WaitFor had kept the mutex
}

}  // namespace
}  // namespace precis
