// One CUDA block on one OS thread: every CUDA thread is a fiber, and a barrier or an exchange
// between lanes is where fibers take turns. What a kernel sees of it: the functions at the end.
//
// Owner: launch.cc, one for each OS thread that runs blocks. Thread rule: that OS thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/simt/fiber.h"

namespace precis::simt {

inline constexpr int kMaxThreads = 1024;
inline constexpr int kWarpLanes = 32;
inline constexpr size_t kMaxSharedBytes = 48 << 10;  // more must be asked for, which no kernel does

struct Index3 {
  unsigned x, y, z;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

// What a lane gives to an exchange.
struct LaneValue {
  alignas(16) std::byte bytes[64];
};

// Who is to run next among those that can: whoever has been able to for longest, the threads
// beginning in their order or in reverse; whoever became able to last, so that a warp runs ahead of
// the others as far as nothing holds it; anyone.
enum class Order { kForward, kReverse, kEager, kRandom };

struct PendingCopy {
  std::byte* to;
  const std::byte* from;
  size_t bytes;
  size_t source_bytes;  // the rest of `bytes` becomes zero
};

struct Thread {
  Fiber fiber;
  Index3 index;
  int rank = 0;  // in its block
  bool alive = false;
  const char* waits_in = nullptr;
  int line = 0;
  std::vector<PendingCopy> open_copies;
  std::vector<std::vector<PendingCopy>> copy_groups;
};

// The lanes of `mask` meet. Two sets of values: a lane may give its next value while another has
// not yet taken the last.
struct Meeting {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  int parity = 0;
  std::vector<Thread*> waiting;
  LaneValue values[2][kWarpLanes];
};

struct Warp {
  static constexpr int kMeetings = 8;  // masks that a block may use
  Meeting meetings[kMeetings];
};

struct Barrier {
  int arrived = 0;
  int line = 0;
  std::vector<Thread*> waiting;
};

class Block {
 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Runs `body` on as many threads as `size` has. Throws std::runtime_error, naming the block and
  // the fault, when the threads can never end.
  void Run(Index3 grid, Index3 size, Index3 index, std::byte* shared, Order order, uint32_t random,
           const std::function<void()>& body);

  // Of the thread that runs now.
  Thread& thread() { return *current_; }
  const Index3& index() const { return index_; }
  const Index3& size() const { return size_; }
  const Index3& grid() const { return grid_; }
  std::byte* shared() const { return shared_; }

  void SyncThreads(int line);
  void SyncWarp(uint32_t mask);
  const LaneValue* Exchange(uint32_t mask, const LaneValue& value, const char* what,
                            void (*step)(LaneValue* lanes));
  [[noreturn]] void Fail(std::string message);

 private:
  static void ThreadMain();
  void RunThread();
  void EndThread();
  void MakeReady(Thread* thread);
  void MakeReady(std::vector<Thread*>* threads);
  void SwitchTo(Thread* next);
  void RunAnother();
  void WaitIn(const char* what, int line);
  void OpenBarrierIfComplete();
  Meeting& MeetingOf(uint32_t mask);
  uint32_t LanesOfWarp() const;
  std::string Deadlock() const;
  void Clear();

  Stacks stacks_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Thread main_;  // the OS thread's own stack
  Thread* current_ = nullptr;
  std::vector<Thread*> ready_;  // a ring: who has become ready longest ago is at ready_begin_
  uint32_t ready_begin_ = 0;
  uint32_t ready_end_ = 0;
  Barrier barrier_;
  int num_threads_ = 0;
  int ended_ = 0;
  Index3 grid_{}, size_{}, index_{};
  std::byte* shared_ = nullptr;
  Order order_ = Order::kForward;
  uint32_t random_ = 1;
  const std::function<void()>* body_ = nullptr;
  std::string fault_;
  // Two objects for ThreadSanitizer: a thread that has ended orders nothing for one that starts.
  char began_ = 0, done_ = 0;
};

// The block of this OS thread; null outside of a kernel.
extern constinit thread_local Block* this_block;

// --- what kernels see
// ------------------------------------------------------------------------------

inline const Index3& ThreadIndex() { return this_block->thread().index; }
inline int Lane() { return this_block->thread().rank % kWarpLanes; }
inline void SyncThreads(int line) { this_block->SyncThreads(line); }
inline void SyncWarp(uint32_t mask) { this_block->SyncWarp(mask); }
[[noreturn]] inline void Fail(std::string message) { this_block->Fail(std::move(message)); }

// Gives `value` to the other lanes of `mask` and returns theirs, by lane. `step`, if there is one,
// is called once on all of them.
inline const LaneValue* Exchange(uint32_t mask, const LaneValue& value, const char* what,
                                 void (*step)(LaneValue* lanes) = nullptr) {
  return this_block->Exchange(mask, value, what, step);
}

}  // namespace precis::simt
