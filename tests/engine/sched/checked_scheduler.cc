// Following what the scheduler does; its rules are in checked_scheduler_rules.cc.
#include "tests/engine/sched/checked_scheduler.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "gtest/gtest.h"

namespace precis {
namespace {

bool Contains(const std::vector<uint32_t>& ids, uint32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

CheckedScheduler::CheckedScheduler(const SchedulerOptions& options, uint32_t num_pages)
    : options_(options),
      pool_(num_pages),
      scheduler_(options, pool_),
      queue_(options.max_passes),
      sequences_(options.max_sequences),
      page_seen_(num_pages, 0),
      values_(size_t{num_pages} * options.self_slots, 0) {}

void CheckedScheduler::Expect(bool fact, const char* what) {
  if (fact || broken_) return;
  broken_ = true;  // the first broken rule says it all
  ADD_FAILURE() << what << "; state after: " << StateKey();
}

WaitingQueue::Place CheckedScheduler::PlaceOf(const SequenceSpec& spec) {
  return {spec.tenant, spec.priority, spec.source_tokens + spec.beams * spec.max_new_tokens};
}

SequenceId CheckedScheduler::Add(const SequenceSpec& spec) {
  const SequenceId id = scheduler_.Add(spec);
  Expect(id < sequences_.size() && !sequences_[id].live, "a new id is dense and not in use");
  const DocumentId document = scheduler_.document(id);
  sequences_[id] = {.live = true, .spec = spec, .document = document, .beams = {{}}};
  if (document >= documents_.size()) documents_.resize(document + 1);
  Document& d = documents_[document];
  if (spec.document) {
    Expect(document == *spec.document && d.live, "a sequence reads the document it names");
  } else {
    Expect(!d.live, "a new document has an id of its own");
    d = {.live = true, .tokens = spec.source_tokens, .arrival = ++time_};
  }
  ++d.users;
  waiting_.push_back(id);
  queue_.Add(id, PlaceOf(spec));
  CheckInvariants();
  return id;
}

void CheckedScheduler::Remove(SequenceId id) {
  scheduler_.Remove(id);
  if (!sequences_[id].admitted) queue_.Remove(id, PlaceOf(sequences_[id].spec));
  std::erase(waiting_, id);
  std::erase(encoding_, id);
  std::erase(decoding_, id);
  Leave(id);
  FollowForgotten();
  CheckInvariants();
}

void CheckedScheduler::Flush() {
  scheduler_.FlushDocuments();
  for (const DocumentId id : Kept()) MarkEvicted(id);
  FollowForgotten();
  CheckInvariants();
}

void CheckedScheduler::Step(double encode_us, const std::vector<Next>& next, bool fails) {
  const bool idle = scheduler_.idle();
  const uint32_t copies_needed = CopiesNeeded();
  std::vector<uint32_t> drafts;
  for (const Next& n : next) drafts.push_back(n.drafts);
  admitted_ = 0;
  plan_ = &scheduler_.Schedule({encode_us, drafts});
  Expect(plan_->empty() == idle, "a plan is empty exactly when nothing is there");
  FollowFirstAdmissions();
  const size_t num_decoding = decoding_.size();
  FollowCopies(copies_needed);
  FollowDecodes(next);
  if (broken_) return;
  const double left_us = FollowEncodes(encode_us);
  while (admitted_ < scheduler_.started().size() && !broken_) Admit();
  FollowOrder(num_decoding);
  FollowEvictions();
  FollowForgotten();
  CheckNothingIdles(left_us);
  CheckInvariants();
  if (broken_) return;
  Settle(num_decoding, next);
  if (fails) FailEncodes();
  FollowForgotten();
  CheckInvariants();
}

// Apply, and what it does.
void CheckedScheduler::Settle(size_t num_decoding, const std::vector<Next>& next) {
  std::vector<SequenceOutcome> outcomes;
  std::vector<std::vector<uint32_t>> parents(num_decoding);  // what the outcomes point to
  std::vector<SequenceId> kept;
  for (size_t i = 0; i < num_decoding; ++i) {
    const SequenceId id = decoding_[i];
    const Sequence& s = sequences_[id];
    const Next what = i < next.size() ? next[i] : Next();
    const uint32_t advanced = std::min(what.accepted, s.planned - 1) + 1;
    if (what.finished || s.fed + advanced == s.spec.max_new_tokens) {
      outcomes.push_back({id, true, {}});
      Leave(id);
      continue;
    }
    kept.push_back(id);
    uint32_t stands = advanced;
    parents[i] = Continue(id, what, &stands);
    outcomes.push_back({id, false, parents[i], stands});
  }
  kept.insert(kept.end(), decoding_.begin() + static_cast<ptrdiff_t>(num_decoding),
              decoding_.end());
  decoding_ = std::move(kept);
  scheduler_.Apply(outcomes);
}

// Returns the parents, spelt out.
std::vector<uint32_t> CheckedScheduler::Continue(SequenceId id, const Next& next,
                                                 uint32_t* advanced) {
  Sequence& s = sequences_[id];
  s.fed += *advanced;
  if (*advanced < s.planned) {
    ++counts_.cut;
    s.beams[0].values.resize(s.fed);
    s.beams[0].pages.resize((s.fed + options_.self_slots - 1) / options_.self_slots);
  }
  std::vector<uint32_t> parents = next.parents;
  if (parents.empty()) {
    parents.resize(s.beams.size());
    std::iota(parents.begin(), parents.end(), 0);
    return parents;
  }
  std::vector<Beam> beams;
  for (const uint32_t parent : parents) beams.push_back(s.beams[parent]);
  s.beams = std::move(beams);
  return parents;
}

void CheckedScheduler::FailEncodes() {
  for (const EncodeSlice& slice : plan_->encodes) {
    const std::vector<SequenceId> left = scheduler_.FailDocument(slice.document);
    std::vector<SequenceId> users;
    for (const auto* ids : {&encoding_, &decoding_}) {
      for (const SequenceId id : *ids) {
        if (sequences_[id].document == slice.document) users.push_back(id);
      }
    }
    Expect(left == users, "a failed encode ends those admitted to it");
    std::erase(in_progress_, slice.document);
    documents_[slice.document].state = State::kIdle;
    documents_[slice.document].next_item = 0;
    documents_[slice.document].overtaken = 0;
    for (const SequenceId id : users) {
      std::erase(encoding_, id);
      std::erase(decoding_, id);
      Leave(id);
    }
    Document& d = documents_[slice.document];
    if (d.users == 0) d.live = false;
  }
}

// In the next plan: of the beams that must write into one page, all but one.
uint32_t CheckedScheduler::CopiesNeeded() const {
  uint32_t needed = 0;
  for (const SequenceId id : decoding_) {
    const Sequence& s = sequences_[id];
    if (s.fed % options_.self_slots == 0) continue;
    std::set<PageId> pages;
    for (const Beam& beam : s.beams) pages.insert(beam.pages.back());
    needed += static_cast<uint32_t>(s.beams.size() - pages.size());
  }
  return needed;
}

void CheckedScheduler::FollowCopies(uint32_t needed) {
  Expect(plan_->copies.size() == needed, "a shared page is copied for all that write but one");
  std::set<PageId> sources;
  std::set<PageId> targets;
  for (const PageCopy& copy : plan_->copies) {
    Expect(copy.slots > 0 && copy.slots < options_.self_slots, "filled slots are copied");
    Expect(targets.insert(copy.to).second, "a page is the target of one copy");
    sources.insert(copy.from);
    const auto from = values_.begin() + ptrdiff_t{copy.from} * options_.self_slots;
    std::copy_n(from, copy.slots, values_.begin() + ptrdiff_t{copy.to} * options_.self_slots);
  }
  for (const PageId page : targets) Expect(!sources.contains(page), "copies are independent");
  counts_.copies += needed;
}

// Those that decode in the step that admits them, and whoever was admitted before them.
void CheckedScheduler::FollowFirstAdmissions() {
  AdmitThroughLast([this](SequenceId id) {
    return std::any_of(plan_->decodes.begin(), plan_->decodes.end(),
                       [id](const DecodeRow& row) { return row.sequence == id; });
  });
}

// Of started(), all up to the last one that is so.
void CheckedScheduler::AdmitThroughLast(const std::function<bool(SequenceId)>& is_so) {
  const std::span<const SequenceId> started = scheduler_.started();
  size_t count = 0;
  for (size_t i = admitted_; i < started.size(); ++i) {
    if (is_so(started[i])) count = i + 1;
  }
  while (admitted_ < count && !broken_) Admit();
}

void CheckedScheduler::FollowDecodes(const std::vector<Next>& next) {
  num_drafts_ = 0;
  lacks_drafts_ = false;
  size_t row = 0;
  for (size_t i = 0; i < decoding_.size() && !broken_; ++i) {
    Sequence& s = sequences_[decoding_[i]];
    const uint32_t wanted = i < next.size() && s.spec.beams == 1 ? next[i].drafts : 0;
    const uint32_t possible = std::min(wanted, s.spec.max_new_tokens - 1 - s.fed);
    const auto drafts = static_cast<uint32_t>(std::count_if(
        plan_->decodes.begin(), plan_->decodes.end(),
        [&](const DecodeRow& r) { return r.sequence == decoding_[i] && r.draft > 0; }));
    Expect(drafts <= possible, "no more drafts than asked for, none past max_new_tokens");
    lacks_drafts_ = lacks_drafts_ || drafts < possible;
    num_drafts_ += drafts;
    s.planned = 1 + drafts;
    for (uint32_t beam = 0; beam < s.beams.size(); ++beam) {
      for (uint32_t draft = 0; draft < s.planned && !broken_; ++draft, ++row) {
        Expect(row < plan_->decodes.size(), "every beam and draft of every sequence has its row");
        if (!broken_) FollowRow(plan_->decodes[row], decoding_[i], beam, draft);
      }
    }
  }
  Expect(plan_->decodes.size() == row, "nothing else decodes");
  Expect(plan_->decodes.size() <= options_.max_batch, "rows have a bound");
  for (const SequenceId id : decoding_) CheckValues(id);
}

void CheckedScheduler::FollowRow(const DecodeRow& row, SequenceId id, uint32_t beam,
                                 uint32_t draft) {
  std::vector<PageId>& pages = sequences_[id].beams[beam].pages;
  Expect(row.sequence == id && row.beam == beam && row.draft == draft, "rows keep their order");
  Expect(row.position == sequences_[id].fed + draft, "decode rows never skip a position");
  Expect(row.slot == row.position % options_.self_slots, "a position has its slot");
  if (row.slot == 0) {
    pages.push_back(row.page);
  } else if (row.page != pages.back()) {
    const bool copied = std::any_of(
        plan_->copies.begin(), plan_->copies.end(), [&pages, &row](const PageCopy& copy) {
          return copy.from == pages.back() && copy.to == row.page && copy.slots == row.slot;
        });
    Expect(copied, "a beam changes its page only for a copy of it");
    pages.back() = row.page;
  }
  Expect(row.position / options_.self_slots + 1 == pages.size(), "a position has its page");
  values_[static_cast<size_t>(row.page) * options_.self_slots + row.slot] = next_value_;
  sequences_[id].beams[beam].values.push_back(next_value_++);
}

// Returns what is left of the budget.
double CheckedScheduler::FollowEncodes(double encode_us) {
  double left_us = encode_us;
  size_t num_items = 0;
  std::vector<DocumentId> seen;
  for (const EncodeSlice& slice : plan_->encodes) {
    if (broken_) return 0;
    Expect(!Contains(seen, slice.document), "a document has one slice a step");
    seen.push_back(slice.document);
    num_items += slice.end_item - slice.begin_item;
    left_us -= FollowSlice(slice);
  }
  Expect(left_us >= 0 || num_items == 1, "only the one guaranteed item may pass the budget");
  return left_us;
}

// Returns the predicted cost of the slice.
double CheckedScheduler::FollowSlice(const EncodeSlice& slice) {
  while (!Contains(in_progress_, slice.document) && !broken_) {
    Expect(admitted_ < scheduler_.started().size(), "a document is encoded for who is admitted");
    if (!broken_) Admit();
  }
  if (broken_) return 0;
  Document& document = documents_[slice.document];
  const uint32_t num_items = NumEncodeItems(options_.encode_shape, document.tokens);
  Expect(slice.begin_item == document.next_item, "encoder items never skip");
  Expect(slice.begin_item < slice.end_item && slice.end_item <= num_items, "a slice has items");
  Expect(slice.last == (slice.end_item == num_items), "`last` marks the last item");
  CheckWorkspace(slice);
  const DocumentId oldest = in_progress_.front();
  if (in_progress_.size() == 2) {
    Expect(
        MayOvertake(RemainingMicroseconds(in_progress_[1]), oldest) == (slice.document != oldest),
        "the shorter goes first, a bounded number of times");
  }
  const double before_us = RemainingMicroseconds(slice.document);
  document.next_item = slice.end_item;
  document.workspace = slice.workspace;
  const double cost_us = before_us - RemainingMicroseconds(slice.document);
  if (slice.last) {
    // Whoever joined this encode came before its end.
    AdmitThroughLast([this, &slice](SequenceId id) {
      return sequences_[id].document == slice.document &&
             scheduler_.document_use(id) == DocumentUse::kJoined;
    });
    if (slice.document != oldest) ++documents_[oldest].overtaken;
    Expect(documents_[oldest].overtaken <= options_.max_overtakes, "overtaking is bounded");
    FinishEncoding(slice.document);
  }
  return cost_us;
}

void CheckedScheduler::FinishEncoding(DocumentId id) {
  Document& d = documents_[id];
  d.state = State::kReady;
  d.next_item = 0;
  d.overtaken = 0;
  d.kept_since = ++time_;
  std::erase(in_progress_, id);
  const auto reads_it = [this, id](SequenceId user) { return sequences_[user].document == id; };
  std::copy_if(encoding_.begin(), encoding_.end(), std::back_inserter(decoding_), reads_it);
  std::erase_if(encoding_, reads_it);
}

// The next of started().
void CheckedScheduler::Admit() {
  const SequenceId id = scheduler_.started()[admitted_++];
  Expect(queue_.head() == id, "the queue is served in its order");
  if (broken_) return;
  queue_.TakeHead();
  std::erase(waiting_, id);
  Sequence& s = sequences_[id];
  s.admitted = true;
  Document& d = documents_[s.document];
  const DocumentUse use = scheduler_.document_use(id);
  // Given up for another sequence before it in this very step.
  while (d.state == State::kReady && use == DocumentUse::kEncoded && !broken_) {
    MarkEvicted(Kept().front());
  }
  ++d.pins;
  switch (d.state) {
    case State::kReady:
      Expect(use == DocumentUse::kReady, "a document that is there is not encoded again");
      decoding_.push_back(id);
      ++counts_.ready;
      return;
    case State::kEncoding:
      Expect(use == DocumentUse::kJoined, "a document is encoded once for all who want it");
      ++counts_.joined;
      break;
    case State::kIdle:
      Expect(use == DocumentUse::kEncoded, "a document that is not there is encoded");
      Expect(in_progress_.size() < 2, "there are two workspaces");
      if (in_progress_.size() == 1) {
        Expect(MayOvertake(RemainingMicroseconds(s.document), in_progress_[0]),
               "only a short document joins the oldest");
      }
      d.state = State::kEncoding;
      in_progress_.push_back(s.document);
      break;
  }
  encoding_.push_back(id);
}

void CheckedScheduler::Leave(SequenceId id) {
  Sequence& s = sequences_[id];
  s.live = false;
  Document& d = documents_[s.document];
  --d.users;
  if (s.admitted && --d.pins == 0 && d.state == State::kReady) d.kept_since = ++time_;
  if (d.users > 0 || (d.state == State::kReady && options_.keep_documents)) return;
  std::erase(in_progress_, s.document);
  d.live = false;
}

void CheckedScheduler::MarkEvicted(DocumentId id) {
  Expect(Kept().front() == id, "the longest unused document is given up first");
  Document& d = documents_[id];
  d.state = State::kIdle;
  if (d.users == 0) d.live = false;
  ++counts_.evicted;
}

// Who came to decode in this step came after the others; the plan does not tell in which order.
void CheckedScheduler::FollowOrder(size_t num_decoding) {
  const std::span<const SequenceId> order = scheduler_.decoding_sequences();
  Expect(std::is_permutation(order.begin(), order.end(), decoding_.begin(), decoding_.end()) &&
             std::equal(order.begin(), order.begin() + static_cast<ptrdiff_t>(num_decoding),
                        decoding_.begin()),
         "rows keep their order when others join");
  if (!broken_) decoding_.assign(order.begin(), order.end());
}

// Of those kept, some may have lost their pages in this step.
void CheckedScheduler::FollowEvictions() {
  const std::span<const DocumentId> forgotten = scheduler_.forgotten();
  for (const DocumentId id : Kept()) {
    const bool gone = std::find(forgotten.begin(), forgotten.end(), id) != forgotten.end();
    if (gone || scheduler_.document_pages(id).empty()) MarkEvicted(id);
  }
}

void CheckedScheduler::FollowForgotten() {
  for (const DocumentId id : scheduler_.forgotten()) {
    Expect(!documents_[id].live, "a document in use or kept is not forgotten");
  }
  scheduler_.ClearForgotten();
}

}  // namespace precis
