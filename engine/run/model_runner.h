// What the engine loop asks of a model: do the plan's work, give logits-derived tokens back. The
// real one joins encoder, decoder and pages (engine/run/step_runner.h); tests have a fake one.
//
// Owner: the engine loop. Thread rule: one thread (the step thread).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "engine/api/generation.h"
#include "engine/api/sequence.h"
#include "engine/sched/encode_work.h"
#include "engine/sched/step_plan.h"

namespace precis {

// What a sequence is to the runner, given once when it joins.
struct RunnerSequence {
  std::span<const int32_t> source_ids;  // of its document; lives until Leave()
  const GenerationOptions* options;     // lives until Leave()
  uint32_t max_new_tokens;
  uint32_t sequence_index = 0;  // which of the request's samples
};

// The page tables of a sequence at this step; read from the scheduler.
class PageTables {
 public:
  virtual ~PageTables() = default;
  virtual std::span<const PageId> SelfPages(SequenceId id, uint32_t beam) const = 0;
  virtual std::span<const PageId> CrossPages(SequenceId id) const = 0;
  virtual std::span<const PageId> DocumentPages(DocumentId id) const = 0;
};

// What a step made of one decoding sequence.
struct SequenceStep {
  // Without beams: the tokens that now stand, drafts that were right and one chosen after them; at
  // least one, until the next Run(). Nothing follows </s> or the last of max_new_tokens.
  std::span<const int32_t> tokens;
  bool failed = false;    // its logits were not finite: the sequence ends, its neighbours go on
  bool finished = false;  // with beams: the search has ended, Hypotheses() has its result
  std::span<const uint32_t> parents;  // with beams, unless finished; until the next Run()
};

struct StepResult {
  std::vector<SequenceStep> sequences;  // the plan's decoding sequences, in its order
  double decode_us = 0;                 // time of the decode rows, encoder work not counted
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual EncodeShape encode_shape() const = 0;
  virtual EncodeCosts encode_costs() const = 0;
  virtual uint32_t num_pages() const = 0;
  virtual uint32_t self_slots() const = 0;
  virtual uint32_t cross_slots() const = 0;

  // A document that plans may encode, until it leaves; `ids` live as long.
  virtual void JoinDocument(DocumentId id, std::span<const int32_t> ids) = 0;
  virtual void LeaveDocument(DocumentId id) = 0;
  virtual void Join(SequenceId id, const RunnerSequence& sequence) = 0;
  virtual void Leave(SequenceId id) = 0;
  // Before a step: counts[i] is how many tokens after the one that stands the runner would guess
  // for decoding[i], spare_rows in all at most. The plan may have fewer of them.
  virtual void ProposeDrafts(std::span<const SequenceId> decoding, uint32_t /*spare_rows*/,
                             std::vector<uint32_t>* counts) {
    counts->assign(decoding.size(), 0);
  }
  // Does the step's work. An error fails every sequence of the plan and nothing else.
  virtual Status Run(const StepPlan& plan, const PageTables& pages, StepResult* out) = 0;
  // After a Run() that failed: whether further ones may succeed, or the device is lost for good.
  virtual Status Check() { return OkStatus(); }
  // Of a sequence with beams whose search has finished, best first.
  virtual std::vector<Hypothesis> Hypotheses(SequenceId id) const = 0;
};

}  // namespace precis
