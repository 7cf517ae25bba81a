#include "engine/sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace precis {
namespace {

uint32_t CeilDiv(uint32_t a, uint32_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, PagePool& pool)
    : options_(options),
      pool_(pool),
      documents_(pool, options.cross_slots, options.keep_documents),
      queue_(options.max_passes),
      encode_queue_(options.encode_shape, options.encode_costs, options.max_overtakes),
      sequences_(options.max_sequences) {
  PRECIS_CHECK(options.max_sequences > 0 && options.max_batch > 0 && options.max_passes > 0);
  PRECIS_CHECK(options.self_slots > 0 && options.cross_slots > 0);
  free_ids_.reserve(options.max_sequences);
  for (uint32_t i = options.max_sequences; i > 0; --i) free_ids_.push_back(i - 1);
  encoding_.reserve(options.max_batch);
  decoding_.reserve(options.max_batch);
  started_.reserve(options.max_batch);
  plan_.encodes.reserve(options.max_batch);
  plan_.copies.reserve(options.max_batch);
  plan_.decodes.reserve(options.max_batch);
}

uint32_t Scheduler::SelfPagesPerBeam(const SequenceSpec& spec) const {
  return CeilDiv(spec.max_new_tokens, options_.self_slots);
}

uint32_t Scheduler::SelfPagesWorst(const SequenceSpec& spec) const {
  return SelfPages::WorstCase(spec.beams, SelfPagesPerBeam(spec));
}

uint32_t Scheduler::WorstCasePages(const SequenceSpec& spec) const {
  return documents_.NumPages(spec.source_tokens) + SelfPagesWorst(spec);
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
  if (spec.document) {
    PRECIS_CHECK(documents_.tokens(*spec.document) == spec.source_tokens);
    documents_.AddUser(*spec.document);
    sequence.document = *spec.document;
  } else {
    sequence.document = documents_.Add(spec.source_tokens);
  }
  queue_.Add(id, PlaceOf(spec));
  return id;
}

void Scheduler::Remove(SequenceId id) {
  PRECIS_CHECK(pending_ == 0);
  switch (Live(id).phase) {
    case Phase::kWaiting:
      queue_.Remove(id, PlaceOf(sequences_[id].spec));
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
  ReleaseDocument(sequence);
  sequence = Sequence();  // self pages and promise go back
  free_ids_.push_back(id);
}

void Scheduler::ReleaseDocument(const Sequence& sequence) {
  const DocumentId document = sequence.document;
  if (sequence.phase != Phase::kWaiting) documents_.Unpin(document);
  // An encode that no one waits for ends; the last user's leaving gives its pages back.
  if (documents_.users(document) == 1) encode_queue_.Remove(document);
  documents_.DropUser(document);
}

std::vector<SequenceId> Scheduler::FailDocument(DocumentId id) {
  PRECIS_CHECK(pending_ == 0);
  std::vector<SequenceId> users;
  for (const auto* phase : {&encoding_, &decoding_}) {
    for (const SequenceId user : *phase) {
      if (sequences_[user].document == id) users.push_back(user);
    }
  }
  // A user of our own, so that the document outlives the others.
  documents_.AddUser(id);
  for (const SequenceId user : users) Remove(user);
  encode_queue_.Remove(id);
  documents_.Reset(id);
  documents_.DropUser(id);
  return users;
}

const StepPlan& Scheduler::Schedule(const StepBudget& budget) {
  PRECIS_CHECK(pending_ == 0);
  plan_.encodes.clear();
  plan_.copies.clear();
  plan_.decodes.clear();
  started_.clear();
  AdmitFromLine();  // a document that is there decodes at once
  // Decode rows first: what is encoded in this step decodes from the next one on.
  PlanDecodes(budget.drafts);
  PlanEncodes(budget.encode_us);
  return plan_;
}

void Scheduler::PlanDecodes(std::span<const uint32_t> drafts) {
  uint32_t spare = spare_rows();
  for (size_t i = 0; i < decoding_.size(); ++i) {
    const Sequence& sequence = sequences_[decoding_[i]];
    if (sequence.spec.beams > 1) {
      PlanBeams(decoding_[i]);
      continue;
    }
    const uint32_t wanted = i < drafts.size() ? drafts[i] : 0;
    const uint32_t last = sequence.spec.max_new_tokens - 1;
    const uint32_t planned = std::min({wanted, spare, last - sequence.position});
    spare -= planned;
    PlanDrafts(decoding_[i], planned);
  }
  pending_ = decoding();
}

void Scheduler::PlanBeams(SequenceId id) {
  Sequence& sequence = sequences_[id];
  const uint32_t slot = sequence.position % options_.self_slots;
  sequence.self.PrepareWrite(slot, &plan_.copies);
  for (uint32_t beam = 0; beam < sequence.self.live(); ++beam) {
    const PageId page = sequence.self.table(beam).back();
    plan_.decodes.push_back({id, beam, 0, sequence.position, page, slot});
  }
}

void Scheduler::PlanDrafts(SequenceId id, uint32_t drafts) {
  Sequence& sequence = sequences_[id];
  sequence.drafts = drafts;
  for (uint32_t draft = 0; draft <= drafts; ++draft) {
    const uint32_t position = sequence.position + draft;
    const uint32_t slot = position % options_.self_slots;
    sequence.self.PrepareWrite(slot, &plan_.copies);
    plan_.decodes.push_back({id, 0, draft, position, sequence.self.table(0).back(), slot});
  }
}

void Scheduler::PlanEncodes(double budget_us) {
  double left_us = budget_us;
  while (true) {
    // Inside the loop: the runner works in plan order, so a workspace whose document is encoded may
    // serve the next one in the same step.
    AdmitFromLine();
    if (encode_queue_.empty()) return;
    // The step's first item is planned at any price, so that encoding cannot starve.
    const EncodeSlice slice = encode_queue_.Plan(plan_.encodes.empty(), &left_us);
    if (slice.begin_item < slice.end_item) plan_.encodes.push_back(slice);
    if (!slice.last) return;  // the budget is spent
    FinishEncoding(slice.document);
  }
}

void Scheduler::AdmitFromLine() {
  // The head only: a head that lacks pages is not passed, or small documents could starve it.
  for (auto head = queue_.head(); head && MayAdmit(sequences_[*head]); head = queue_.head()) {
    queue_.TakeHead();
    Admit(*head);
  }
}

bool Scheduler::MayAdmit(const Sequence& head) const {
  if (head.spec.beams > options_.max_batch - rows_) return false;
  const DocumentId document = head.document;
  uint32_t needed = SelfPagesWorst(head.spec);
  uint32_t can_have = pool_.available() + documents_.evictable_pages();
  switch (documents_.state(document)) {
    case DocumentCache::State::kIdle:
      // A document that would only wait after the oldest leaves its pages to others until then.
      if (!encode_queue_.MayJoin(head.spec.source_tokens)) return false;
      needed += documents_.NumPages(head.spec.source_tokens);
      break;
    case DocumentCache::State::kEncoding:
      break;
    case DocumentCache::State::kReady:
      // Its own pages are not to be given up.
      if (!documents_.pinned(document)) can_have -= documents_.NumPages(head.spec.source_tokens);
      break;
  }
  return needed <= can_have;
}

void Scheduler::Admit(SequenceId id) {
  Sequence& sequence = sequences_[id];
  const SequenceSpec& spec = sequence.spec;
  const DocumentCache::State state = documents_.state(sequence.document);
  rows_ += spec.beams;
  documents_.Pin(sequence.document);
  if (state == DocumentCache::State::kIdle) {
    documents_.MakeRoom(documents_.NumPages(spec.source_tokens));
    documents_.Start(sequence.document);
    encode_queue_.Join(sequence.document, spec.source_tokens);
  }
  documents_.MakeRoom(SelfPagesWorst(spec));
  sequence.self = SelfPages(pool_, spec.beams, SelfPagesPerBeam(spec));
  started_.push_back(id);
  if (state == DocumentCache::State::kReady) {
    sequence.use = DocumentUse::kReady;
    sequence.phase = Phase::kDecoding;
    decoding_.push_back(id);
    return;
  }
  sequence.use =
      state == DocumentCache::State::kIdle ? DocumentUse::kEncoded : DocumentUse::kJoined;
  sequence.phase = Phase::kEncoding;
  encoding_.push_back(id);
}

// All that wait for the document decode from the next step on.
void Scheduler::FinishEncoding(DocumentId id) {
  documents_.FinishEncoding(id);
  const auto is_ready = [this, id](SequenceId user) { return sequences_[user].document == id; };
  for (const SequenceId user : encoding_) {
    if (!is_ready(user)) continue;
    sequences_[user].phase = Phase::kDecoding;
    decoding_.push_back(user);
  }
  std::erase_if(encoding_, is_ready);
}

void Scheduler::Apply(std::span<const SequenceOutcome> outcomes) {
  PRECIS_CHECK(outcomes.size() == pending_);
  pending_ = 0;
  // The planned are the first of decoding_, in its order; after them is what this step encoded.
  size_t kept = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const SequenceId id = decoding_[i];
    PRECIS_CHECK(outcomes[i].sequence == id);
    if (outcomes[i].finished) {
      Free(id);
      continue;
    }
    Advance(sequences_[id], outcomes[i]);
    decoding_[kept++] = id;
  }
  decoding_.erase(decoding_.begin() + static_cast<ptrdiff_t>(kept),
                  decoding_.begin() + static_cast<ptrdiff_t>(outcomes.size()));
}

void Scheduler::Advance(Sequence& sequence, const SequenceOutcome& outcome) {
  PRECIS_CHECK(outcome.advanced >= 1 && outcome.advanced <= sequence.drafts + 1);
  sequence.position += outcome.advanced;
  PRECIS_CHECK(sequence.position < sequence.spec.max_new_tokens);
  // Pages that only rejected drafts were written to go back; their slots in others are overwritten.
  if (sequence.drafts > 0) {
    sequence.self.Truncate(CeilDiv(sequence.position, options_.self_slots));
  }
  sequence.self.Reorder(outcome.parents);
}

}  // namespace precis
