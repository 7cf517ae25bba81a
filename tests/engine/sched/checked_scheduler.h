// A scheduler with a shadow beside it: after every act, all that the public interface shows is
// compared with what the rules of docs/scheduling.md allow. The shadow never asks the scheduler
// what it is about to do; it follows the plans. It also does with numbers what a runner does with
// bytes: it makes the plan's copies, writes a value for each decode row, and reads back what every
// beam wrote. Only the order of the waiting queue it takes from WaitingQueue, which has its own
// test.
//
// Owner: a test. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/scheduler.h"
#include "engine/sched/waiting_queue.h"

namespace precis {

class CheckedScheduler {
 public:
  // What becomes of a decoding sequence in a step.
  struct Next {
    bool finished = false;
    std::vector<uint32_t> parents = {};  // none: every beam continues itself
    uint32_t drafts = 0;                 // asked for
    uint32_t accepted = 0;               // of those planned, at most
  };

  CheckedScheduler(const SchedulerOptions& options, uint32_t num_pages);

  SequenceId Add(const SequenceSpec& spec);
  void Remove(SequenceId id);
  void Flush();
  // One step: Schedule, then Apply with next[i] for the i-th decoding sequence. Those that have fed
  // their last position finish anyway; where entries are missing, sequences go on. `fails`: running
  // the step's encoder work failed.
  void Step(double encode_us, const std::vector<Next>& next, bool fails = false);

  // Whether invariants are compared after each act (the acts' own rules always are).
  void set_thorough(bool thorough) { thorough_ = thorough; }
  // A rule was broken and reported as a test failure.
  bool broken() const { return broken_; }

  const Scheduler& scheduler() const { return scheduler_; }
  const PagePool& pool() const { return pool_; }
  // Unfinished sequences: those that wait (in the order of arrival), those whose document is being
  // encoded, those decoding (in the order of their rows).
  const std::vector<SequenceId>& waiting() const { return waiting_; }
  const std::vector<SequenceId>& encoding() const { return encoding_; }
  const std::vector<SequenceId>& decoding() const { return decoding_; }
  const SequenceSpec& spec(SequenceId id) const { return sequences_[id].spec; }
  // Documents in progress, oldest first.
  const std::vector<DocumentId>& in_progress() const { return in_progress_; }
  // The document of so many tokens that came first, if there is one.
  std::optional<DocumentId> FindDocument(uint32_t tokens) const;
  // Whether the sequence's next decode rows are its last.
  bool OnLastPosition(SequenceId id) const;
  // Rows it will have in the next plan, drafts aside.
  uint32_t live_beams(SequenceId id) const {
    return static_cast<uint32_t>(sequences_[id].beams.size());
  }

  struct Counts {
    uint64_t copies = 0;
    uint64_t joined = 0;   // admissions to a document under way
    uint64_t ready = 0;    // admissions to a document that was there
    uint64_t evicted = 0;  // documents given up for pages
    uint64_t cut = 0;      // steps of sequences that lost drafts
  };
  const Counts& counts() const { return counts_; }

  // All that the scheduler's future depends on, up to the names of ids and pages.
  std::string StateKey() const;

 private:
  enum class State : uint8_t { kIdle, kEncoding, kReady };

  struct Beam {
    std::vector<PageId> pages;
    std::vector<uint64_t> values;  // what its rows wrote, by position
  };

  struct Sequence {
    bool live = false;
    SequenceSpec spec;
    DocumentId document = 0;
    bool admitted = false;
    uint32_t fed = 0;         // positions that stand
    uint32_t planned = 0;     // rows of the last plan, a beam
    std::vector<Beam> beams;  // the live ones
  };

  struct Document {
    bool live = false;
    uint32_t tokens = 0;
    uint64_t arrival = 0;
    uint32_t users = 0;
    uint32_t pins = 0;
    State state = State::kIdle;
    uint32_t next_item = 0;
    uint32_t workspace = 0;
    uint32_t overtaken = 0;
    uint64_t kept_since = 0;  // when it was last let go by all
  };

  void Expect(bool fact, const char* what);
  static WaitingQueue::Place PlaceOf(const SequenceSpec& spec);

  // Following a plan (checked_scheduler.cc).
  uint32_t CopiesNeeded() const;
  void FollowCopies(uint32_t needed);
  void FollowFirstAdmissions();
  void AdmitThroughLast(const std::function<bool(SequenceId)>& is_so);
  void FollowDecodes(const std::vector<Next>& next);
  void FollowRow(const DecodeRow& row, SequenceId id, uint32_t beam, uint32_t draft);
  double FollowEncodes(double encode_us);
  double FollowSlice(const EncodeSlice& slice);
  void Admit();
  void FinishEncoding(DocumentId id);
  void FollowOrder(size_t num_decoding);
  void FollowEvictions();
  void FollowForgotten();
  void MarkEvicted(DocumentId id);
  void Leave(SequenceId id);
  void FailEncodes();
  void Settle(size_t num_decoding, const std::vector<Next>& next);
  std::vector<uint32_t> Continue(SequenceId id, const Next& next, uint32_t* advanced);

  // Rules (checked_scheduler_rules.cc).
  double RemainingMicroseconds(DocumentId id) const;
  bool MayOvertake(double other_us, DocumentId oldest) const;
  uint32_t RowsTaken() const;
  std::vector<DocumentId> Kept() const;  // from the longest unused
  uint32_t PagesOf(DocumentId id) const;
  void CheckValues(SequenceId id);
  void CheckWorkspace(const EncodeSlice& slice);
  void CheckNothingIdles(double left_us);
  bool HeadHasPages(SequenceId head) const;
  void CheckInvariants();
  void CheckDocuments();
  void CheckSequence(SequenceId id);
  uint32_t CheckBeams(SequenceId id);
  void MarkPage(PageId page, uint32_t holders);

  const SchedulerOptions options_;
  PagePool pool_;
  Scheduler scheduler_;
  WaitingQueue queue_;
  const StepPlan* plan_ = nullptr;
  std::vector<Sequence> sequences_;  // by id
  std::vector<Document> documents_;  // by id
  std::vector<SequenceId> waiting_;
  std::vector<SequenceId> encoding_;
  std::vector<SequenceId> decoding_;
  std::vector<DocumentId> in_progress_;
  size_t admitted_ = 0;              // of started(), in this step
  uint32_t num_drafts_ = 0;          // in this step
  bool lacks_drafts_ = false;        // fewer than asked for and possible
  std::vector<uint64_t> page_seen_;  // by page: the last round of checks that met it
  std::vector<uint64_t> values_;     // by page and slot: the value written last
  uint64_t next_value_ = 1;
  uint64_t rounds_ = 0;
  uint64_t time_ = 0;
  Counts counts_;
  bool thorough_ = true;
  bool broken_ = false;
};

}  // namespace precis
