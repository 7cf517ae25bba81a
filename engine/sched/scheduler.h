// Who runs in the next step. Continuous batching: sequences join and leave at any step, decoding
// sequences always advance, encoder work is admitted under a budget. Ids and counts only: no bytes,
// no device, no clock, no thread; time is passed in as predicted microseconds.
//
// Owner: the engine loop. Thread rule: one thread (the step thread).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"
#include "engine/sched/encode_work.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/step_plan.h"

namespace precis {

struct SchedulerOptions {
  uint32_t max_sequences = 1024;  // accepted and unfinished
  uint32_t max_batch = 64;        // encoding or decoding at once
  uint32_t self_slots = 16;       // tokens a self page holds
  uint32_t cross_slots = 16;      // tokens a cross page holds
  uint32_t max_overtakes = 4;     // how often a short document may pass the oldest encoding one
  EncodeShape encode_shape;
  EncodeCosts encode_costs;
};

struct SequenceSpec {
  uint32_t source_tokens = 0;   // at least 1
  uint32_t max_new_tokens = 0;  // at least 1; positions fed are 0 .. max_new_tokens-1
};

struct StepBudget {
  // Predicted microseconds of encoder work this step may hold. At least one item is always planned
  // when a document waits, so that encoding cannot starve.
  double encode_us = 0;
};

// What became of one decode row of the plan.
struct RowOutcome {
  SequenceId sequence;
  bool finished;
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, PagePool& pool);

  // Pages the sequence holds in the worst case: cross pages + self pages of max_new_tokens.
  uint32_t WorstCasePages(const SequenceSpec& spec) const;
  // False when max_sequences are unfinished.
  bool HasRoom() const;
  // Requires HasRoom() and WorstCasePages(spec) <= pool.total(). Joins the waiting line.
  SequenceId Add(const SequenceSpec& spec);
  // Leaves at once, whatever it is doing; its pages go back. Not between Schedule and Apply.
  void Remove(SequenceId id);

  // The next step. Sequences whose first encoder work is in this plan are listed in started().
  const StepPlan& Schedule(const StepBudget& budget);
  // Requires one outcome for each decode row of the last plan, in its order. Finished sequences
  // leave and give their pages back.
  void Apply(std::span<const RowOutcome> outcomes);

  std::span<const SequenceId> started() const;
  std::span<const PageId> self_pages(SequenceId id) const;
  std::span<const PageId> cross_pages(SequenceId id) const;
  uint32_t source_tokens(SequenceId id) const;

  uint32_t waiting() const;
  uint32_t encoding() const;
  uint32_t decoding() const;
  bool idle() const { return waiting() + encoding() + decoding() == 0; }

 private:
  // The implementation's business.
};

}  // namespace precis
