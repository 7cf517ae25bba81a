#include "tests/engine/sched/checked_scheduler.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

uint32_t CeilDiv(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

bool Contains(const std::vector<SequenceId>& ids, SequenceId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

CheckedScheduler::CheckedScheduler(const SchedulerOptions& options, uint32_t num_pages)
    : options_(options),
      pool_(num_pages),
      scheduler_(options, pool_),
      documents_(options.max_sequences),
      page_seen_(num_pages, 0) {}

void CheckedScheduler::Expect(bool fact, const char* what) {
  if (fact || broken_) return;
  broken_ = true;  // the first broken rule says it all
  ADD_FAILURE() << what << "; state after: " << StateKey();
}

SequenceId CheckedScheduler::Add(const SequenceSpec& spec) {
  const SequenceId id = scheduler_.Add(spec);
  Expect(id < documents_.size() && !documents_[id].live, "a new id is dense and not in use");
  documents_[id] = {.live = true, .spec = spec, .arrival = arrivals_++};
  waiting_.push_back(id);
  CheckInvariants();
  return id;
}

void CheckedScheduler::Remove(SequenceId id) {
  scheduler_.Remove(id);
  std::erase(waiting_, id);
  std::erase(encoding_, id);
  std::erase(decoding_, id);
  documents_[id].live = false;
  CheckInvariants();
}

void CheckedScheduler::Step(double encode_us, const std::vector<bool>& finished) {
  const bool idle = scheduler_.idle();
  plan_ = &scheduler_.Schedule({encode_us});
  Expect(plan_->empty() == idle, "a plan is empty exactly when nothing is there");
  const size_t num_rows = decoding_.size();
  FollowDecodes();
  if (broken_) return;
  const double left_us = FollowEncodes(encode_us);
  FollowAdmissions();
  CheckNothingIdles(left_us);
  CheckInvariants();
  if (broken_) return;

  std::vector<RowOutcome> outcomes;
  std::vector<SequenceId> kept;
  for (size_t i = 0; i < num_rows; ++i) {
    const SequenceId id = decoding_[i];
    const bool finish = (i < finished.size() && finished[i]) ||
                        documents_[id].fed == documents_[id].spec.max_new_tokens;
    outcomes.push_back({id, finish});
    if (finish) documents_[id].live = false;
    if (!finish) kept.push_back(id);
  }
  kept.insert(kept.end(), decoding_.begin() + static_cast<ptrdiff_t>(num_rows), decoding_.end());
  decoding_ = std::move(kept);
  scheduler_.Apply(outcomes);
  CheckInvariants();
}

bool CheckedScheduler::OnLastPosition(SequenceId id) const {
  return documents_[id].fed + 1 == documents_[id].spec.max_new_tokens;
}

void CheckedScheduler::FollowDecodes() {
  Expect(plan_->decodes.size() == decoding_.size(), "every decoding sequence advances");
  for (size_t i = 0; i < decoding_.size() && !broken_; ++i) {
    const DecodeRow& row = plan_->decodes[i];
    Document& document = documents_[decoding_[i]];
    Expect(row.sequence == decoding_[i], "decode rows keep their order");
    Expect(row.position == document.fed, "decode rows never skip a position");
    Expect(row.slot == row.position % options_.self_slots, "a position has its slot");
    const auto pages = scheduler_.self_pages(row.sequence);
    const size_t page = row.position / options_.self_slots;
    Expect(page < pages.size() && row.page == pages[page], "a position has its page");
    ++document.fed;
  }
}

// Returns what is left of the budget.
double CheckedScheduler::FollowEncodes(double encode_us) {
  double left_us = encode_us;
  size_t num_items = 0;
  std::vector<SequenceId> seen;
  std::vector<SequenceId> started;
  for (const EncodeSlice& slice : plan_->encodes) {
    if (broken_) return 0;
    Expect(!Contains(seen, slice.sequence), "a document has one slice a step");
    seen.push_back(slice.sequence);
    if (slice.begin_item == 0) started.push_back(slice.sequence);
    num_items += slice.end_item - slice.begin_item;
    left_us -= FollowSlice(slice);
  }
  Expect(left_us >= 0 || num_items == 1, "only the one guaranteed item may pass the budget");
  Expect(std::equal(started.begin(), started.end(), scheduler_.started().begin(),
                    scheduler_.started().end()),
         "started() lists the documents whose first item is planned");
  return left_us;
}

// Returns the predicted cost of the slice.
double CheckedScheduler::FollowSlice(const EncodeSlice& slice) {
  if (!Contains(encoding_, slice.sequence)) AdmitUpTo(slice.sequence);
  if (broken_) return 0;
  Document& document = documents_[slice.sequence];
  const uint32_t num_items = NumEncodeItems(options_.encode_shape, document.spec.source_tokens);
  Expect(slice.begin_item == document.next_item, "encoder items never skip");
  Expect(slice.begin_item < slice.end_item && slice.end_item <= num_items, "a slice has items");
  Expect(slice.last == (slice.end_item == num_items), "`last` marks the last item");
  CheckWorkspace(slice);
  const SequenceId oldest = encoding_.front();
  if (encoding_.size() == 2) {
    Expect(MayOvertake(encoding_[1], oldest) == (slice.sequence != oldest),
           "the shorter goes first, a bounded number of times");
  }
  const double before_us = RemainingMicroseconds(slice.sequence);
  document.next_item = slice.end_item;
  document.workspace = slice.workspace;
  const double cost_us = before_us - RemainingMicroseconds(slice.sequence);
  if (slice.last) {
    if (slice.sequence != oldest) ++documents_[oldest].overtaken;
    Expect(documents_[oldest].overtaken <= options_.max_overtakes, "overtaking is bounded");
    std::erase(encoding_, slice.sequence);
    decoding_.push_back(slice.sequence);
  }
  return cost_us;
}

void CheckedScheduler::AdmitUpTo(SequenceId id) {
  Expect(Contains(waiting_, id), "encoder work is for documents that wait or are in progress");
  while (!broken_ && !Contains(encoding_, id)) {
    Expect(encoding_.size() < 2, "the line is served in order, by two workspaces");
    encoding_.push_back(waiting_.front());
    waiting_.erase(waiting_.begin());
    if (encoding_.size() == 2) {
      Expect(MayOvertake(encoding_[1], encoding_[0]), "only a short document joins the oldest");
    }
  }
}

void CheckedScheduler::FollowAdmissions() {
  while (!waiting_.empty() && !scheduler_.cross_pages(waiting_.front()).empty() && !broken_) {
    AdmitUpTo(waiting_.front());
  }
}

void CheckedScheduler::CheckWorkspace(const EncodeSlice& slice) {
  const Document& document = documents_[slice.sequence];
  Expect(slice.workspace < 2, "there are two workspaces");
  Expect(document.next_item == 0 || document.workspace == slice.workspace,
         "a document stays in its workspace");
  for (const SequenceId id : encoding_) {
    const bool clash = id != slice.sequence && documents_[id].next_item > 0 &&
                       documents_[id].workspace == slice.workspace;
    Expect(!clash, "no two documents share a workspace");
  }
}

void CheckedScheduler::CheckNothingIdles(double left_us) {
  if (broken_) return;
  if (!encoding_.empty()) {
    Expect(!plan_->encodes.empty(), "encoding does not starve");
    const bool second = encoding_.size() == 2 && MayOvertake(encoding_[1], encoding_[0]);
    const Document& next = documents_[encoding_[second ? 1 : 0]];
    const uint32_t tokens = next.spec.source_tokens;
    const EncodeItem item = EncodeItemAt(options_.encode_shape, tokens, next.next_item);
    Expect(PredictMicroseconds(options_.encode_costs, item, tokens) > left_us,
           "the budget is used as far as the next item allows");
  }
  if (waiting_.empty()) return;
  const SequenceId head = waiting_.front();
  const bool workspace_free =
      encoding_.empty() || (encoding_.size() == 1 && MayOvertake(head, encoding_[0]));
  const bool pages_free = scheduler_.WorstCasePages(documents_[head].spec) <= pool_.available();
  Expect(!(workspace_free && pages_free && RowFree()), "the head waits only for what is missing");
}

double CheckedScheduler::RemainingMicroseconds(SequenceId id) const {
  const Document& document = documents_[id];
  const uint32_t tokens = document.spec.source_tokens;
  double sum_us = 0;
  for (uint32_t i = document.next_item; i < NumEncodeItems(options_.encode_shape, tokens); ++i) {
    const EncodeItem item = EncodeItemAt(options_.encode_shape, tokens, i);
    sum_us += PredictMicroseconds(options_.encode_costs, item, tokens);
  }
  return sum_us;
}

bool CheckedScheduler::MayOvertake(SequenceId other, SequenceId oldest) const {
  return documents_[oldest].overtaken < options_.max_overtakes &&
         RemainingMicroseconds(other) < RemainingMicroseconds(oldest);
}

void CheckedScheduler::CheckInvariants() {
  if (!thorough_ || broken_) return;
  Expect(scheduler_.waiting() == waiting_.size(), "waiting() counts the line");
  Expect(scheduler_.encoding() == encoding_.size(), "encoding() counts the documents in progress");
  Expect(scheduler_.decoding() == decoding_.size(), "decoding() counts the rows of the next step");
  Expect(encoding_.size() <= 2, "two documents are in progress at most");
  Expect(encoding_.size() + decoding_.size() <= options_.max_batch, "the batch has a bound");
  Expect(std::is_sorted(waiting_.begin(), waiting_.end(),
                        [this](SequenceId a, SequenceId b) {
                          return documents_[a].arrival < documents_[b].arrival;
                        }),
         "the line is in the order of arrival");
  ++rounds_;
  for (const SequenceId id : waiting_) CheckPages(id, false);
  uint32_t cross = 0;
  uint32_t self = 0;
  uint32_t worst = 0;
  for (const auto* ids : {&encoding_, &decoding_}) {
    for (const SequenceId id : *ids) {
      CheckPages(id, true);
      cross += static_cast<uint32_t>(scheduler_.cross_pages(id).size());
      self += static_cast<uint32_t>(scheduler_.self_pages(id).size());
      worst += scheduler_.WorstCasePages(documents_[id].spec);
    }
  }
  Expect(pool_.leased(PageKind::kCross) == cross, "leased cross pages are the sequences' own");
  Expect(pool_.leased(PageKind::kSelf) == self, "leased self pages are the sequences' own");
  Expect(pool_.leased() + pool_.promised() == worst, "the worst case is leased or promised");
  Expect(pool_.leased() + pool_.promised() + pool_.available() == pool_.total(),
         "leased, promised and available pages are all pages");
  Expect(pool_.peak_leased() >= pool_.leased(), "the peak is a peak");
}

void CheckedScheduler::CheckPages(SequenceId id, bool admitted) {
  const Document& document = documents_[id];
  const auto cross = scheduler_.cross_pages(id);
  const auto self = scheduler_.self_pages(id);
  const uint32_t want = admitted ? CeilDiv(document.spec.source_tokens, options_.cross_slots) : 0;
  Expect(cross.size() == want, "cross pages are held from admission on");
  Expect(self.size() == CeilDiv(document.fed, options_.self_slots),
         "self pages are held as far as positions were fed");
  Expect(document.fed <= document.spec.max_new_tokens, "no position past max_new_tokens is fed");
  MarkPages(cross);
  MarkPages(self);
}

void CheckedScheduler::MarkPages(std::span<const PageId> pages) {
  for (const PageId page : pages) {
    const bool exists = page >= 0 && static_cast<uint32_t>(page) < pool_.total();
    Expect(exists && page_seen_[static_cast<size_t>(page)] != rounds_, "no page is held twice");
    if (exists) page_seen_[static_cast<size_t>(page)] = rounds_;
  }
}

std::string CheckedScheduler::StateKey() const {
  std::string key;
  for (const SequenceId id : waiting_) {
    key += fmt::format("w{}x{} ", documents_[id].spec.source_tokens,
                       documents_[id].spec.max_new_tokens);
  }
  for (const SequenceId id : encoding_) {
    const Document& d = documents_[id];
    key += fmt::format("e{}x{}", d.spec.source_tokens, d.spec.max_new_tokens);
    key += fmt::format(":{}o{}w{} ", d.next_item, d.overtaken, d.next_item > 0 ? d.workspace : 2);
  }
  for (const SequenceId id : decoding_) {
    const Document& d = documents_[id];
    key += fmt::format("d{}x{}:{} ", d.spec.source_tokens, d.spec.max_new_tokens, d.fed);
  }
  return key;
}

}  // namespace precis
