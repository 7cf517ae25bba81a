// A scheduler with a shadow beside it: after every act, all that the public interface shows is
// compared with what the rules of docs/scheduling.md allow. The shadow never asks the scheduler
// what it is about to do; it follows the plans.
//
// Owner: a test. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"

namespace precis {

class CheckedScheduler {
 public:
  CheckedScheduler(const SchedulerOptions& options, uint32_t num_pages);

  SequenceId Add(const SequenceSpec& spec);
  void Remove(SequenceId id);
  // One step: Schedule, then Apply with finished[i] for decode row i (rows that have fed their last
  // position finish anyway; missing entries are false).
  void Step(double encode_us, const std::vector<bool>& finished);

  // Whether invariants are compared after each act (the acts' own rules always are).
  void set_thorough(bool thorough) { thorough_ = thorough; }
  // A rule was broken and reported as a test failure.
  bool broken() const { return broken_; }

  const Scheduler& scheduler() const { return scheduler_; }
  const PagePool& pool() const { return pool_; }
  // Unfinished sequences: the waiting line, those in progress (oldest first), those decoding (in
  // the order of their rows).
  const std::vector<SequenceId>& waiting() const { return waiting_; }
  const std::vector<SequenceId>& encoding() const { return encoding_; }
  const std::vector<SequenceId>& decoding() const { return decoding_; }
  const SequenceSpec& spec(SequenceId id) const { return documents_[id].spec; }
  // Whether the sequence's next decode row is its last.
  bool OnLastPosition(SequenceId id) const;
  const StepPlan& last_plan() const { return *plan_; }

  // All that the scheduler's future depends on, up to the names of ids and pages.
  std::string StateKey() const;

 private:
  struct Document {
    bool live = false;
    SequenceSpec spec;
    uint64_t arrival = 0;
    uint32_t next_item = 0;
    uint32_t workspace = 0;
    uint32_t overtaken = 0;
    uint32_t fed = 0;  // decode rows planned so far
  };

  void Expect(bool fact, const char* what);
  double RemainingMicroseconds(SequenceId id) const;
  bool MayOvertake(SequenceId other, SequenceId oldest) const;
  bool RowFree() const { return encoding_.size() + decoding_.size() < options_.max_batch; }
  void FollowDecodes();
  double FollowEncodes(double encode_us);
  double FollowSlice(const EncodeSlice& slice);
  void FollowAdmissions();
  void AdmitUpTo(SequenceId id);
  void CheckWorkspace(const EncodeSlice& slice);
  void CheckNothingIdles(double left_us);
  void CheckInvariants();
  void CheckPages(SequenceId id, bool admitted);
  void MarkPages(std::span<const PageId> pages);

  const SchedulerOptions options_;
  PagePool pool_;
  Scheduler scheduler_;
  const StepPlan* plan_ = nullptr;
  std::vector<Document> documents_;  // by id
  std::vector<SequenceId> waiting_;
  std::vector<SequenceId> encoding_;
  std::vector<SequenceId> decoding_;
  std::vector<uint64_t> page_seen_;  // by page: the last round of CheckPages that met it
  uint64_t rounds_ = 0;
  uint64_t arrivals_ = 0;
  bool thorough_ = true;
  bool broken_ = false;
};

}  // namespace precis
