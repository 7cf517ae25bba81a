// Who runs in the next step. Continuous batching: sequences join and leave at any step, decoding
// sequences always advance, encoder work is admitted under a budget. Ids and counts only: no bytes,
// no device, no clock, no thread; time is passed in as predicted microseconds.
//
// Owner: the engine loop. Thread rule: one thread (the step thread).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sched/encode_work.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/self_pages.h"
#include "engine/sched/step_plan.h"

namespace precis {

struct SchedulerOptions {
  uint32_t max_sequences = 1024;  // accepted and unfinished
  uint32_t max_batch = 64;        // beams of sequences that are encoding or decoding at once
  uint32_t self_slots = 16;       // tokens a self page holds
  uint32_t cross_slots = 16;      // tokens a cross page holds
  uint32_t max_overtakes = 4;     // how often a short document may pass the oldest encoding one
  EncodeShape encode_shape;
  EncodeCosts encode_costs;
};

struct SequenceSpec {
  uint32_t source_tokens = 0;   // at least 1
  uint32_t max_new_tokens = 0;  // at least 1; positions fed are 0 .. max_new_tokens-1
  uint32_t beams = 1;           // 1 .. max_beams()
};

struct StepBudget {
  // Predicted microseconds of encoder work this step may hold. At least one item is always planned
  // when a document waits, so that encoding cannot starve.
  double encode_us = 0;
};

// What became of one sequence of the plan's decode rows.
struct SequenceOutcome {
  SequenceId sequence;
  bool finished;
  // Unless finished: entry i is the beam of this step that the next step's beam i continues; 1 to
  // spec.beams entries, so beams may be dropped, doubled and added.
  std::span<const uint32_t> parents;
};

// The parents of a sequence without beams.
inline constexpr uint32_t kOnlyBeam[] = {0};

class Scheduler {
 public:
  static constexpr uint32_t kMaxBeams = 16;

  Scheduler(const SchedulerOptions& options, PagePool& pool);

  // Pages the sequence holds in the worst case: cross pages + self pages of max_new_tokens for each
  // beam, and a page a beam for copies where there are several.
  uint32_t WorstCasePages(const SequenceSpec& spec) const;
  // Beams that a sequence may have: it takes a row of max_batch for each. More must be refused.
  uint32_t max_beams() const { return std::min(kMaxBeams, options_.max_batch); }
  // False when max_sequences are unfinished.
  bool HasRoom() const { return !free_ids_.empty(); }
  // Requires HasRoom(), spec.beams <= max_beams() and WorstCasePages(spec) <= pool.total(). Joins
  // the waiting line.
  SequenceId Add(const SequenceSpec& spec);
  // Leaves at once, whatever it is doing; its pages go back. Not between Schedule and Apply.
  // Requires that `id` has not left.
  void Remove(SequenceId id);

  // The next step; never empty unless idle(). Sequences whose first encoder work is in this plan
  // are listed in started(). The plan's encoder work counts as done: when running it failed,
  // Apply() and Remove() its documents.
  const StepPlan& Schedule(const StepBudget& budget);
  // Requires one outcome for each sequence with decode rows in the last plan, in its order, and
  // that a sequence which fed position max_new_tokens-1 is finished. Finished sequences leave and
  // give their pages back.
  void Apply(std::span<const SequenceOutcome> outcomes);

  std::span<const SequenceId> started() const { return started_; }
  // Requires beam < live_beams(id). Valid until the next Schedule() or Apply().
  std::span<const PageId> self_pages(SequenceId id, uint32_t beam = 0) const {
    return Live(id).self.table(beam);
  }
  // Decode rows of the sequence in a plan; 0 before admission, 1 before its first decode row.
  uint32_t live_beams(SequenceId id) const { return Live(id).self.live(); }
  std::span<const PageId> cross_pages(SequenceId id) const { return Live(id).cross.pages(); }
  uint32_t source_tokens(SequenceId id) const { return Live(id).spec.source_tokens; }

  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint32_t encoding() const { return static_cast<uint32_t>(encoding_.size()); }
  // Those that were encoded by the last plan included.
  uint32_t decoding() const { return static_cast<uint32_t>(decoding_.size()); }
  bool idle() const { return waiting() + encoding() + decoding() == 0; }

 private:
  enum class Phase : uint8_t { kFree, kWaiting, kEncoding, kDecoding };

  struct Sequence {
    Phase phase = Phase::kFree;
    SequenceSpec spec;
    PageLease cross;
    SelfPages self;
    // Encoding.
    uint32_t workspace = 0;
    uint32_t next_item = 0;
    uint32_t num_items = 0;
    double remaining_us = 0;  // predicted, of the items not planned yet
    uint32_t overtaken = 0;   // documents encoded before this one while it was the oldest
    // Decoding.
    uint32_t position = 0;  // the next one fed
  };

  const Sequence& Live(SequenceId id) const;
  Sequence& Live(SequenceId id);
  uint32_t CrossPages(const SequenceSpec& spec) const;
  uint32_t SelfPagesPerBeam(const SequenceSpec& spec) const;
  void Free(SequenceId id);

  void PlanDecodes();
  void PlanEncodes(double budget_us);
  void AdmitFromLine();
  bool MayAdmit(const Sequence& head) const;
  void Admit(SequenceId id);
  size_t NextToEncode() const;
  bool MayOvertake(const Sequence& other, const Sequence& oldest) const;
  EncodeSlice PlanItems(SequenceId id, double* left_us);
  void FinishEncoding(size_t index);

  const SchedulerOptions options_;
  PagePool& pool_;
  std::vector<Sequence> sequences_;   // by id
  std::vector<SequenceId> free_ids_;  // a stack
  std::vector<SequenceId> waiting_;   // the line, head first
  std::vector<SequenceId> encoding_;  // at most one a workspace, oldest first
  std::vector<SequenceId> decoding_;  // in the order in which they were encoded
  std::vector<SequenceId> started_;
  uint32_t rows_ = 0;  // beams of those encoding and decoding
  StepPlan plan_;
  uint32_t pending_ = 0;  // the first sequences of decoding_, whose planned rows wait for Apply()
};

}  // namespace precis
