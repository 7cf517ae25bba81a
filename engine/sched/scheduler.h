// Who runs in the next step. Continuous batching: sequences join and leave at any step, decoding
// sequences always advance, encoder work is admitted under a budget. Ids and counts only: no bytes,
// no device, no clock, no thread; time is passed in as predicted microseconds.
//
// Owner: the engine loop. Thread rule: one thread (the step thread).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/sched/document_cache.h"
#include "engine/sched/encode_queue.h"
#include "engine/sched/encode_work.h"
#include "engine/sched/page_pool.h"
#include "engine/sched/priority.h"
#include "engine/sched/self_pages.h"
#include "engine/sched/step_plan.h"
#include "engine/sched/waiting_queue.h"

namespace precis {

struct SchedulerOptions {
  uint32_t max_sequences = 1024;  // accepted and unfinished
  uint32_t max_batch = 64;        // beams of sequences that are encoding or decoding at once
  uint32_t self_slots = 16;       // tokens a self page holds
  uint32_t cross_slots = 16;      // tokens a cross page holds
  uint32_t max_overtakes = 4;     // how often a short document may pass the oldest encoding one
  uint32_t max_passes = 16;       // admissions of higher priorities before one of a lower is due
  bool keep_documents =
      true;  // the cross-page cache: documents that no one reads stay while there is room
  EncodeShape encode_shape = {};
  EncodeCosts encode_costs = {};
};

struct SequenceSpec {
  uint32_t source_tokens = 0;   // at least 1
  uint32_t max_new_tokens = 0;  // at least 1; positions fed are 0 .. max_new_tokens-1
  uint32_t beams = 1;           // 1 .. max_beams()
  // A document that is not forgotten, of source_tokens tokens; none: a new one.
  std::optional<DocumentId> document = {};
  TenantId tenant = 0;
  Priority priority = Priority::kNormal;
};

// What a sequence takes of the machine, for queue limits and fair shares.
inline uint64_t CostOf(const SequenceSpec& spec) {
  return spec.source_tokens + uint64_t{spec.beams} * spec.max_new_tokens;
}

// How a sequence came by its document when it was admitted.
enum class DocumentUse : uint8_t {
  kEncoded,  // it was the first: encoded for it
  kJoined,   // another sequence's encode was under way
  kReady,    // it was there
};

struct StepBudget {
  // Predicted microseconds of encoder work this step may hold. At least one item is always planned
  // when a document waits, so that encoding cannot starve.
  double encode_us = 0;
  // Drafts wanted: entry i for decoding_sequences()[i], none for those beyond. Fewer are planned
  // where rows or the sequence's own limit run out.
  std::span<const uint32_t> drafts = {};
};

// The parents of a sequence without beams.
inline constexpr uint32_t kOnlyBeam[] = {0};

// What became of one sequence of the plan's decode rows.
struct SequenceOutcome {
  SequenceId sequence;
  bool finished;
  // Unless finished: entry i is the beam of this step that the next step's beam i continues; 1 to
  // spec.beams entries, so beams may be dropped, doubled and added.
  std::span<const uint32_t> parents = kOnlyBeam;
  // Unless finished: positions fed that stand, 1 .. rows of the sequence. 1 with beams.
  uint32_t advanced = 1;
};

class Scheduler {
 public:
  static constexpr uint32_t kMaxBeams = 16;

  Scheduler(const SchedulerOptions& options, PagePool& pool);

  // Pages the sequence holds in the worst case: cross pages + self pages of max_new_tokens for each
  // beam, and a page a beam for copies where there are several. Drafts never pass max_new_tokens,
  // so they need none.
  uint32_t WorstCasePages(const SequenceSpec& spec) const;
  // Beams that a sequence may have: it takes a row of max_batch for each. More must be refused.
  uint32_t max_beams() const { return std::min(kMaxBeams, options_.max_batch); }
  // False when max_sequences are unfinished.
  bool HasRoom() const { return !free_ids_.empty(); }
  // Requires HasRoom(), spec.beams <= max_beams() and WorstCasePages(spec) <= pool.total(). Joins
  // the waiting queue.
  SequenceId Add(const SequenceSpec& spec);
  // Leaves at once, whatever it is doing; its pages go back, or stay for others. Not between
  // Schedule and Apply. Requires that `id` has not left.
  void Remove(SequenceId id);

  // The next step; never empty unless idle(). Sequences that it admits are listed in started(). The
  // plan's encoder work counts as done: when running it failed, Apply() and FailDocument() each.
  const StepPlan& Schedule(const StepBudget& budget);
  // Requires one outcome for each sequence with decode rows in the last plan, in its order, and
  // that a sequence which fed position max_new_tokens-1 is finished. Finished sequences leave and
  // give their pages back.
  void Apply(std::span<const SequenceOutcome> outcomes);
  // What is encoded of a document is worth nothing: its admitted sequences leave, and are returned;
  // those that wait will encode it again. Requires that it is not forgotten.
  std::vector<SequenceId> FailDocument(DocumentId id);
  // Gives up kept documents that no one reads.
  void FlushDocuments() { documents_.Flush(); }

  std::span<const SequenceId> started() const { return started_; }
  DocumentId document(SequenceId id) const { return Live(id).document; }
  // Requires that it was admitted.
  DocumentUse document_use(SequenceId id) const { return Live(id).use; }
  // Documents that ended: their ids are not used again before ClearForgotten().
  std::span<const DocumentId> forgotten() const { return documents_.forgotten(); }
  void ClearForgotten() { documents_.ClearForgotten(); }
  // Requires beam < live_beams(id). Valid until the next Schedule() or Apply().
  std::span<const PageId> self_pages(SequenceId id, uint32_t beam = 0) const {
    return Live(id).self.table(beam);
  }
  // Decode rows of the sequence in a plan; 0 before admission, 1 before its first decode row.
  uint32_t live_beams(SequenceId id) const { return Live(id).self.live(); }
  // Empty until its encoding begins.
  std::span<const PageId> cross_pages(SequenceId id) const {
    return documents_.pages(Live(id).document);
  }
  std::span<const PageId> document_pages(DocumentId id) const { return documents_.pages(id); }
  uint32_t document_tokens(DocumentId id) const { return documents_.tokens(id); }

  uint32_t waiting() const { return queue_.size(); }
  uint64_t waiting_cost() const { return queue_.cost(); }
  // Admitted, their document not encoded yet.
  uint32_t encoding() const { return static_cast<uint32_t>(encoding_.size()); }
  // Those that were encoded by the last plan included.
  uint32_t decoding() const { return static_cast<uint32_t>(decoding_.size()); }
  // The same, in the order of the next plan. Valid until the next Schedule(), Apply() or Remove().
  std::span<const SequenceId> decoding_sequences() const { return decoding_; }
  // Rows that no beam of a running sequence needs: room for drafts.
  uint32_t spare_rows() const { return options_.max_batch - rows_; }
  // Of documents that no one reads; they are leased, and given up when others need them.
  uint32_t kept_pages() const { return documents_.evictable_pages(); }
  uint32_t kept_documents() const { return documents_.num_kept(); }
  // A document may be encoded on for those that still wait, when all that were admitted have left.
  bool idle() const { return waiting() + encoding() + decoding() == 0; }

 private:
  enum class Phase : uint8_t { kFree, kWaiting, kEncoding, kDecoding };

  struct Sequence {
    Phase phase = Phase::kFree;
    SequenceSpec spec;
    DocumentId document = 0;
    DocumentUse use = DocumentUse::kEncoded;
    SelfPages self;
    uint32_t position = 0;  // the next one fed
    uint32_t drafts = 0;    // rows of the last plan after the one that stands
  };

  const Sequence& Live(SequenceId id) const;
  Sequence& Live(SequenceId id);
  static WaitingQueue::Place PlaceOf(const SequenceSpec& spec) {
    return {spec.tenant, spec.priority, CostOf(spec)};
  }
  uint32_t SelfPagesWorst(const SequenceSpec& spec) const;
  uint32_t SelfPagesPerBeam(const SequenceSpec& spec) const;
  void Free(SequenceId id);
  void ReleaseDocument(const Sequence& sequence);

  void PlanDecodes(std::span<const uint32_t> drafts);
  void PlanBeams(SequenceId id);
  void PlanDrafts(SequenceId id, uint32_t drafts);
  void Advance(Sequence& sequence, const SequenceOutcome& outcome);
  void PlanEncodes(double budget_us);
  void AdmitFromLine();
  bool MayAdmit(const Sequence& head) const;
  void Admit(SequenceId id);
  void FinishEncoding(DocumentId id);

  const SchedulerOptions options_;
  PagePool& pool_;
  DocumentCache documents_;
  WaitingQueue queue_;
  EncodeQueue encode_queue_;
  std::vector<Sequence> sequences_;   // by id
  std::vector<SequenceId> free_ids_;  // a stack
  std::vector<SequenceId> encoding_;  // in the order in which they were admitted
  std::vector<SequenceId> decoding_;  // in the order in which they came to it
  std::vector<SequenceId> started_;
  uint32_t rows_ = 0;  // beams of those encoding and decoding
  StepPlan plan_;
  uint32_t pending_ = 0;  // the first sequences of decoding_, whose planned rows wait for Apply()
};

}  // namespace precis
