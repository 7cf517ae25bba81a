#include "engine/sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace precis {
namespace {

constexpr size_t kNumWorkspaces = 2;

uint32_t CeilDiv(uint32_t a, uint32_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, PagePool& pool)
    : options_(options), pool_(pool), sequences_(options.max_sequences) {
  PRECIS_CHECK(options.max_sequences > 0 && options.max_batch > 0);
  PRECIS_CHECK(options.self_slots > 0 && options.cross_slots > 0);
  PRECIS_CHECK(NumEncodeItems(options.encode_shape, 1) > 0);
  free_ids_.reserve(options.max_sequences);
  for (uint32_t i = options.max_sequences; i > 0; --i) free_ids_.push_back(i - 1);
  waiting_.reserve(options.max_sequences);
  encoding_.reserve(kNumWorkspaces);
  decoding_.reserve(options.max_batch);
  started_.reserve(options.max_batch);
  plan_.encodes.reserve(options.max_batch);
  plan_.copies.reserve(options.max_batch);
  plan_.decodes.reserve(options.max_batch);
}

uint32_t Scheduler::CrossPages(const SequenceSpec& spec) const {
  return CeilDiv(spec.source_tokens, options_.cross_slots);
}

uint32_t Scheduler::SelfPagesPerBeam(const SequenceSpec& spec) const {
  return CeilDiv(spec.max_new_tokens, options_.self_slots);
}

uint32_t Scheduler::WorstCasePages(const SequenceSpec& spec) const {
  return CrossPages(spec) + SelfPages::WorstCase(spec.beams, SelfPagesPerBeam(spec));
}

const Scheduler::Sequence& Scheduler::Live(SequenceId id) const {
  PRECIS_CHECK(id < sequences_.size() && sequences_[id].phase != Phase::kFree);
  return sequences_[id];
}

Scheduler::Sequence& Scheduler::Live(SequenceId id) {
  return const_cast<Sequence&>(std::as_const(*this).Live(id));
}

SequenceId Scheduler::Add(const SequenceSpec& spec) {
  PRECIS_CHECK(HasRoom());
  PRECIS_CHECK(spec.source_tokens > 0 && spec.max_new_tokens > 0);
  PRECIS_CHECK(spec.beams > 0 && spec.beams <= max_beams());
  PRECIS_CHECK(WorstCasePages(spec) <= pool_.total());
  const SequenceId id = free_ids_.back();
  free_ids_.pop_back();
  Sequence& sequence = sequences_[id];
  sequence.phase = Phase::kWaiting;
  sequence.spec = spec;
  sequence.num_items = NumEncodeItems(options_.encode_shape, spec.source_tokens);
  sequence.remaining_us =
      PredictDocumentMicroseconds(options_.encode_shape, options_.encode_costs, spec.source_tokens);
  waiting_.push_back(id);
  return id;
}

void Scheduler::Remove(SequenceId id) {
  PRECIS_CHECK(pending_ == 0);
  switch (Live(id).phase) {
    case Phase::kWaiting:
      std::erase(waiting_, id);
      break;
    case Phase::kEncoding:
      std::erase(encoding_, id);
      break;
    case Phase::kDecoding:
      std::erase(decoding_, id);
      break;
    case Phase::kFree:
      break;  // Live() has checked
  }
  Free(id);
}

void Scheduler::Free(SequenceId id) {
  Sequence& sequence = sequences_[id];
  if (sequence.phase != Phase::kWaiting) rows_ -= sequence.spec.beams;
  sequence = Sequence();  // leases and promise go back
  free_ids_.push_back(id);
}

const StepPlan& Scheduler::Schedule(const StepBudget& budget) {
  PRECIS_CHECK(pending_ == 0);
  plan_.encodes.clear();
  plan_.copies.clear();
  plan_.decodes.clear();
  started_.clear();
  // Decode rows first: what is encoded in this step decodes from the next one on.
  PlanDecodes();
  PlanEncodes(budget.encode_us);
  return plan_;
}

void Scheduler::PlanDecodes() {
  for (const SequenceId id : decoding_) {
    Sequence& sequence = sequences_[id];
    const uint32_t slot = sequence.position % options_.self_slots;
    sequence.self.PrepareWrite(slot, &plan_.copies);
    for (uint32_t beam = 0; beam < sequence.self.live(); ++beam) {
      const PageId page = sequence.self.table(beam).back();
      plan_.decodes.push_back({id, beam, sequence.position, page, slot});
    }
  }
  pending_ = decoding();
}

void Scheduler::PlanEncodes(double budget_us) {
  double left_us = budget_us;
  while (true) {
    // Inside the loop: the runner works in plan order, so a workspace whose document is encoded may
    // serve the next one in the same step.
    AdmitFromLine();
    if (encoding_.empty()) return;
    const size_t index = NextToEncode();
    const EncodeSlice slice = PlanItems(encoding_[index], &left_us);
    if (slice.begin_item < slice.end_item) plan_.encodes.push_back(slice);
    if (!slice.last) return;  // the budget is spent
    FinishEncoding(index);
  }
}

void Scheduler::AdmitFromLine() {
  // The head only: a head that lacks pages is not passed, or small documents could starve it.
  while (!waiting_.empty() && MayAdmit(sequences_[waiting_.front()])) {
    const SequenceId id = waiting_.front();
    waiting_.erase(waiting_.begin());
    Admit(id);
  }
}

bool Scheduler::MayAdmit(const Sequence& head) const {
  if (head.spec.beams > options_.max_batch - rows_) return false;
  if (encoding_.size() == kNumWorkspaces) return false;
  // A document that would only wait behind the oldest leaves its pages to others until then.
  if (!encoding_.empty() && !MayOvertake(head, sequences_[encoding_.front()])) return false;
  return WorstCasePages(head.spec) <= pool_.available();
}

void Scheduler::Admit(SequenceId id) {
  Sequence& sequence = sequences_[id];
  rows_ += sequence.spec.beams;
  sequence.cross = pool_.Lease(PageKind::kCross, CrossPages(sequence.spec));
  sequence.self = SelfPages(pool_, sequence.spec.beams, SelfPagesPerBeam(sequence.spec));
  sequence.workspace = encoding_.empty() ? 0 : 1 - sequences_[encoding_.front()].workspace;
  sequence.phase = Phase::kEncoding;
  encoding_.push_back(id);
}

bool Scheduler::MayOvertake(const Sequence& other, const Sequence& oldest) const {
  return other.remaining_us < oldest.remaining_us && oldest.overtaken < options_.max_overtakes;
}

size_t Scheduler::NextToEncode() const {
  const bool overtake = encoding_.size() == kNumWorkspaces &&
                        MayOvertake(sequences_[encoding_[1]], sequences_[encoding_[0]]);
  return overtake ? 1 : 0;
}

EncodeSlice Scheduler::PlanItems(SequenceId id, double* left_us) {
  Sequence& sequence = sequences_[id];
  EncodeSlice slice{id, sequence.workspace, sequence.next_item, sequence.next_item, false};
  while (slice.end_item < sequence.num_items) {
    const EncodeItem item =
        EncodeItemAt(options_.encode_shape, sequence.spec.source_tokens, slice.end_item);
    const double item_us =
        PredictMicroseconds(options_.encode_costs, item, sequence.spec.source_tokens);
    // The step's first item is planned at any price, so that encoding cannot starve.
    const bool first = plan_.encodes.empty() && slice.end_item == slice.begin_item;
    if (!first && !(item_us <= *left_us)) break;
    *left_us -= item_us;
    sequence.remaining_us -= item_us;
    ++slice.end_item;
  }
  if (slice.begin_item == 0 && slice.end_item > 0) started_.push_back(id);
  sequence.next_item = slice.end_item;
  slice.last = slice.end_item == sequence.num_items;
  return slice;
}

void Scheduler::FinishEncoding(size_t index) {
  const SequenceId id = encoding_[index];
  if (index > 0) ++sequences_[encoding_.front()].overtaken;
  encoding_.erase(encoding_.begin() + static_cast<ptrdiff_t>(index));
  sequences_[id].phase = Phase::kDecoding;
  decoding_.push_back(id);
}

void Scheduler::Apply(std::span<const SequenceOutcome> outcomes) {
  PRECIS_CHECK(outcomes.size() == pending_);
  pending_ = 0;
  // The planned are the first of decoding_, in its order; behind them is what this step encoded.
  size_t kept = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const SequenceId id = decoding_[i];
    PRECIS_CHECK(outcomes[i].sequence == id);
    if (outcomes[i].finished) {
      Free(id);
      continue;
    }
    Sequence& sequence = sequences_[id];
    ++sequence.position;
    PRECIS_CHECK(sequence.position < sequence.spec.max_new_tokens);
    sequence.self.Reorder(outcomes[i].parents);
    decoding_[kept++] = id;
  }
  decoding_.erase(decoding_.begin() + static_cast<ptrdiff_t>(kept),
                  decoding_.begin() + static_cast<ptrdiff_t>(outcomes.size()));
}

}  // namespace precis
