// Compiled without sanitizers, as all of the emulator: its own bookkeeping would look like races
// between CUDA threads.
#include "tests/simt/block.h"

#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace precis::simt {

constinit thread_local Block* this_block = nullptr;

Block::Block()
    : stacks_(kMaxThreads),
      threads_(kMaxThreads),
      warps_(kMaxThreads / kWarpLanes),
      ready_(2 * kMaxThreads) {
  // They never grow: ThreadSanitizer sees what moves and frees memory even from here.
  barrier_.waiting.reserve(kMaxThreads);
  for (Warp& warp : warps_) {
    for (Meeting& meeting : warp.meetings) meeting.waiting.reserve(kWarpLanes);
  }
}

Block::~Block() {
  for (Thread& thread : threads_) ReleaseFiber(&thread.fiber);
}

void Block::Clear() {
  ready_begin_ = ready_end_ = 0;
  ended_ = 0;
  barrier_.arrived = 0;
  barrier_.waiting.clear();
  for (Warp& warp : warps_) {
    for (Meeting& meeting : warp.meetings) {
      meeting.mask = meeting.arrived = 0;
      meeting.waiting.clear();
    }
  }
}

void Block::Run(Index3 grid, Index3 size, Index3 index, std::byte* shared, Order order,
                uint32_t random, const std::function<void()>& body) {
  grid_ = grid;
  size_ = size;
  index_ = index;
  shared_ = shared;
  order_ = order;
  random_ = random | 1;
  body_ = &body;
  num_threads_ = static_cast<int>(size.count());
  Clear();
  for (int i = 0; i < num_threads_; ++i) {
    const int rank = order == Order::kReverse ? num_threads_ - 1 - i : i;
    Thread& thread = threads_[rank];
    const auto at = static_cast<size_t>(rank);
    if (thread.fiber.stack == nullptr) PrepareFiber(&thread.fiber, stacks_.at(at), at, ThreadMain);
    const auto linear = static_cast<unsigned>(rank);
    thread.index = {linear % size.x, linear / size.x % size.y, linear / (size.x * size.y)};
    thread.rank = rank;
    thread.alive = true;
    thread.open_copies.clear();
    thread.copy_groups.clear();
    MakeReady(&thread);
  }
  AdoptThread(&main_.fiber);
  Release(&began_);
  current_ = &main_;
  this_block = this;
  RunAnother();
  this_block = nullptr;
  Acquire(&done_);
  if (fault_.empty() && ended_ < num_threads_) fault_ = Deadlock();
  if (fault_.empty()) return;
  // The fibers are somewhere in the kernel and never come back.
  for (Thread& thread : threads_) {
    if (thread.alive) ReleaseFrom(&thread.fiber, &main_.fiber, &done_);
    thread.alive = false;
    ReleaseFiber(&thread.fiber);
  }
  Acquire(&done_);
  const std::string where = "block (" + std::to_string(index.x) + ", " + std::to_string(index.y) +
                            ", " + std::to_string(index.z) + "): ";
  throw std::runtime_error(where + std::exchange(fault_, ""));
}

std::string Block::Deadlock() const {
  std::string text = "deadlock: ";
  int shown = 0;
  for (const Thread& thread : threads_) {
    if (!thread.alive || shown == 4) continue;
    ++shown;
    text += "thread " + std::to_string(thread.rank) + " waits in " + thread.waits_in + ", line " +
            std::to_string(thread.line) + "; ";
  }
  return text + std::to_string(num_threads_ - ended_) + " of " + std::to_string(num_threads_) +
         " threads never end";
}

void Block::ThreadMain() {
  ArriveInFiber(&this_block->main_.fiber);
  for (;;) this_block->RunThread();
}

void Block::RunThread() {
  Acquire(&began_);
  (*body_)();
  EndThread();
  Release(&done_);
  RunAnother();
}

void Block::EndThread() {
  current_->alive = false;
  ++ended_;
  OpenBarrierIfComplete();  // as the hardware does: who has ended is not waited for
}

void Block::MakeReady(Thread* thread) {
  thread->waits_in = nullptr;
  ready_[ready_end_++ % ready_.size()] = thread;
}

void Block::MakeReady(std::vector<Thread*>* threads) {
  for (Thread* thread : *threads) MakeReady(thread);
  threads->clear();
}

void Block::SwitchTo(Thread* next) {
  Thread* before = std::exchange(current_, next);
  SwitchFiber(&before->fiber, &next->fiber);
}

// Back to the OS thread's stack when nobody can run.
void Block::RunAnother() {
  if (ready_begin_ == ready_end_) return SwitchTo(&main_);
  if (order_ == Order::kEager) return SwitchTo(ready_[--ready_end_ % ready_.size()]);
  if (order_ == Order::kRandom) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    const uint32_t chosen = ready_begin_ + random_ % (ready_end_ - ready_begin_);
    std::swap(ready_[chosen % ready_.size()], ready_[ready_begin_ % ready_.size()]);
  }
  SwitchTo(ready_[ready_begin_++ % ready_.size()]);
}

void Block::WaitIn(const char* what, int line) {
  current_->waits_in = what;
  current_->line = line;
  RunAnother();
}

void Block::Fail(std::string message) {
  if (fault_.empty()) fault_ = std::move(message);
  current_->waits_in = "a fault";
  Release(&done_);
  SwitchTo(&main_);
  std::abort();  // nobody switches back
}

void Block::OpenBarrierIfComplete() {
  if (barrier_.arrived == 0 || barrier_.arrived < num_threads_ - ended_) return;
  barrier_.arrived = 0;
  MakeReady(&barrier_.waiting);
}

void Block::SyncThreads(int line) {
  if (barrier_.arrived > 0 && barrier_.line != line) {
    Fail("divergent barrier: threads of one block wait in lines " + std::to_string(barrier_.line) +
         " and " + std::to_string(line));
  }
  barrier_.line = line;
  Release(&barrier_);
  ++barrier_.arrived;
  if (barrier_.arrived >= num_threads_ - ended_) {
    OpenBarrierIfComplete();
  } else {
    barrier_.waiting.push_back(current_);
    WaitIn("__syncthreads", line);
  }
  Acquire(&barrier_);
}

void Block::SyncWarp(uint32_t mask) {
  Warp* warp = &warps_[current_->rank / kWarpLanes];
  Release(warp);
  Exchange(mask, {}, "__syncwarp", nullptr);
  Acquire(warp);
}

Meeting& Block::MeetingOf(uint32_t mask) {
  Warp& warp = warps_[current_->rank / kWarpLanes];
  for (Meeting& meeting : warp.meetings) {
    if (meeting.mask == mask) return meeting;
  }
  for (Meeting& meeting : warp.meetings) {
    // One that had another mask may hold values that lanes have not yet taken.
    if (meeting.mask != 0) continue;
    meeting.mask = mask;
    return meeting;
  }
  Fail("more masks in one warp of a block than the emulator holds");
}

uint32_t Block::LanesOfWarp() const {
  const int lanes = num_threads_ - current_->rank / kWarpLanes * kWarpLanes;
  return lanes >= kWarpLanes ? ~uint32_t{0} : (uint32_t{1} << lanes) - 1;
}

const LaneValue* Block::Exchange(uint32_t mask, const LaneValue& value, const char* what,
                                 void (*step)(LaneValue* lanes)) {
  const int lane = current_->rank % kWarpLanes;
  if ((mask >> lane & 1) == 0) Fail(std::string(what) + ": the lane is not in its own mask");
  Meeting& meeting = MeetingOf(mask);
  if (meeting.arrived == 0) meeting.parity ^= 1;
  LaneValue* values = meeting.values[meeting.parity];
  values[lane] = value;
  meeting.arrived |= uint32_t{1} << lane;
  if (meeting.arrived == (mask & LanesOfWarp())) {
    meeting.arrived = 0;
    if (step != nullptr) step(values);
    MakeReady(&meeting.waiting);
  } else {
    meeting.waiting.push_back(current_);
    WaitIn(what, 0);
  }
  return values;
}

}  // namespace precis::simt
