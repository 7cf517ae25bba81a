// A scheduler with a shadow beside it: after every act, all that the public interface shows is
// compared with what the rules of docs/scheduling.md allow. The shadow never asks the scheduler
// what it is about to do; it follows the plans. It also does with numbers what a runner does with
// bytes: it makes the plan's copies, writes a value for each decode row, and reads back what every
// beam wrote.
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
  // What becomes of a decoding sequence in a step.
  struct Next {
    bool finished = false;
    std::vector<uint32_t> parents;  // none: every beam continues itself
  };

  CheckedScheduler(const SchedulerOptions& options, uint32_t num_pages);

  SequenceId Add(const SequenceSpec& spec);
  void Remove(SequenceId id);
  // One step: Schedule, then Apply with next[i] for the i-th decoding sequence. Those that have fed
  // their last position finish anyway; where entries are missing, sequences go on.
  void Step(double encode_us, const std::vector<Next>& next);

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
  // Whether the sequence's next decode rows are its last.
  bool OnLastPosition(SequenceId id) const;
  // Rows it will have in the next plan.
  uint32_t live_beams(SequenceId id) const {
    return static_cast<uint32_t>(documents_[id].beams.size());
  }
  uint64_t copies() const { return num_copies_; }
  const StepPlan& last_plan() const { return *plan_; }

  // All that the scheduler's future depends on, up to the names of ids and pages.
  std::string StateKey() const;

 private:
  struct Beam {
    std::vector<PageId> pages;
    std::vector<uint64_t> values;  // what its rows wrote, by position
  };

  struct Document {
    bool live = false;
    SequenceSpec spec;
    uint64_t arrival = 0;
    uint32_t next_item = 0;
    uint32_t workspace = 0;
    uint32_t overtaken = 0;
    uint32_t fed = 0;         // positions planned so far
    std::vector<Beam> beams;  // the live ones
  };

  void Expect(bool fact, const char* what);
  double RemainingMicroseconds(SequenceId id) const;
  bool MayOvertake(SequenceId other, SequenceId oldest) const;
  uint32_t RowsTaken() const;
  uint32_t CopiesNeeded() const;
  void FollowCopies(uint32_t needed);
  void FollowDecodes();
  void FollowRow(const DecodeRow& row, SequenceId id, uint32_t beam);
  void CheckValues(SequenceId id);
  std::vector<uint32_t> Continue(SequenceId id, std::vector<uint32_t> parents);
  double FollowEncodes(double encode_us);
  double FollowSlice(const EncodeSlice& slice);
  void FollowAdmissions();
  void AdmitUpTo(SequenceId id);
  void CheckWorkspace(const EncodeSlice& slice);
  void CheckNothingIdles(double left_us);
  void CheckInvariants();
  void CheckPages(SequenceId id, bool admitted);
  uint32_t CheckBeams(SequenceId id);
  void MarkPage(PageId page, uint32_t holders);

  const SchedulerOptions options_;
  PagePool pool_;
  Scheduler scheduler_;
  const StepPlan* plan_ = nullptr;
  std::vector<Document> documents_;  // by id
  std::vector<SequenceId> waiting_;
  std::vector<SequenceId> encoding_;
  std::vector<SequenceId> decoding_;
  std::vector<uint64_t> page_seen_;  // by page: the last round of CheckPages that met it
  std::vector<uint64_t> values_;     // by page and slot: the value written last
  uint64_t next_value_ = 1;
  uint64_t num_copies_ = 0;
  uint64_t rounds_ = 0;
  uint64_t arrivals_ = 0;
  bool thorough_ = true;
  bool broken_ = false;
};

}  // namespace precis
