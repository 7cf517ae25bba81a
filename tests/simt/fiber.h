// One stack of its own, switched to and from by hand: what a CUDA thread is under emulation. The
// sanitizers are told of every switch, so that they see each fiber as a thread.
//
// Owner: a Block has one for each CUDA thread, and one for the OS thread it runs on. Thread rule:
// a fiber stays on the OS thread that made it.
#pragma once

#include <cstddef>

namespace precis::simt {

struct Fiber {
  void* stack_pointer = nullptr;  // where it was left
  void* context = nullptr;        // in place of it, where stacks are switched by ucontext
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* tsan = nullptr;
  void* asan_fake_stack = nullptr;
};

// The memory of many stacks, each above a page that must not be touched. Pages come with use.
class Stacks {
 public:
  static constexpr size_t kStackBytes = size_t{256} << 10;

  explicit Stacks(size_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  char* at(size_t i) const { return memory_ + i * kStackBytes; }

 private:
  char* memory_;
  size_t bytes_;
};

// The next switch to `fiber` calls `entry`, which never returns. `number` staggers the stacks,
// which would otherwise share their places in the cache. Whatever the fiber was in before is
// abandoned.
void PrepareFiber(Fiber* fiber, char* stack, size_t number, void (*entry)());
void ReleaseFiber(Fiber* fiber);

// `here` becomes the OS thread's own.
void AdoptThread(Fiber* here);

void SwitchFiber(Fiber* from, Fiber* to);

// To be called first in a fiber's entry. `main` is where it was first switched to from.
void ArriveInFiber(Fiber* main);

// What was done before a release is seen by who acquires. No-ops without ThreadSanitizer.
void Release(void* what);
void Acquire(void* what);
// Release() in the name of a fiber that will not run again.
void ReleaseFrom(Fiber* fiber, Fiber* here, void* what);

// One of two sources, as CMake chooses: by hand on x86-64, ucontext elsewhere.
void PrepareStack(Fiber* fiber, size_t number, void (*entry)());
void ReleaseStack(Fiber* fiber);
void SwitchStack(Fiber* from, Fiber* to);

}  // namespace precis::simt
