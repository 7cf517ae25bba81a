#include "tests/engine/sched/checked_scheduler.h"

#include <algorithm>
#include <numeric>
#include <set>
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
      page_seen_(num_pages, 0),
      values_(size_t{num_pages} * options.self_slots, 0) {}

void CheckedScheduler::Expect(bool fact, const char* what) {
  if (fact || broken_) return;
  broken_ = true;  // the first broken rule says it all
  ADD_FAILURE() << what << "; state after: " << StateKey();
}

SequenceId CheckedScheduler::Add(const SequenceSpec& spec) {
  const SequenceId id = scheduler_.Add(spec);
  Expect(id < documents_.size() && !documents_[id].live, "a new id is dense and not in use");
  documents_[id] = {.live = true, .spec = spec, .arrival = arrivals_++, .beams = {{}}};
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

void CheckedScheduler::Step(double encode_us, const std::vector<Next>& next) {
  const bool idle = scheduler_.idle();
  const uint32_t copies_needed = CopiesNeeded();
  plan_ = &scheduler_.Schedule({encode_us});
  Expect(plan_->empty() == idle, "a plan is empty exactly when nothing is there");
  const size_t num_decoding = decoding_.size();
  FollowCopies(copies_needed);
  FollowDecodes();
  if (broken_) return;
  const double left_us = FollowEncodes(encode_us);
  FollowAdmissions();
  CheckNothingIdles(left_us);
  CheckInvariants();
  if (broken_) return;

  std::vector<SequenceOutcome> outcomes;
  std::vector<std::vector<uint32_t>> parents(num_decoding);  // what the outcomes point to
  std::vector<SequenceId> kept;
  for (size_t i = 0; i < num_decoding; ++i) {
    const SequenceId id = decoding_[i];
    const Next what = i < next.size() ? next[i] : Next();
    const bool finish = what.finished || documents_[id].fed == documents_[id].spec.max_new_tokens;
    if (finish) {
      documents_[id].live = false;
    } else {
      kept.push_back(id);
      parents[i] = Continue(id, what.parents);
    }
    outcomes.push_back({id, finish, parents[i]});
  }
  kept.insert(kept.end(), decoding_.begin() + static_cast<ptrdiff_t>(num_decoding),
              decoding_.end());
  decoding_ = std::move(kept);
  scheduler_.Apply(outcomes);
  CheckInvariants();
}

// Returns the parents, spelt out.
std::vector<uint32_t> CheckedScheduler::Continue(SequenceId id, std::vector<uint32_t> parents) {
  std::vector<Beam>& beams = documents_[id].beams;
  if (parents.empty()) {
    parents.resize(beams.size());
    std::iota(parents.begin(), parents.end(), 0);
    return parents;
  }
  std::vector<Beam> next;
  for (const uint32_t parent : parents) next.push_back(beams[parent]);
  beams = std::move(next);
  return parents;
}

bool CheckedScheduler::OnLastPosition(SequenceId id) const {
  return documents_[id].fed + 1 == documents_[id].spec.max_new_tokens;
}

uint32_t CheckedScheduler::RowsTaken() const {
  uint32_t rows = 0;
  for (const auto* ids : {&encoding_, &decoding_}) {
    for (const SequenceId id : *ids) rows += documents_[id].spec.beams;
  }
  return rows;
}

// In the next plan: of the beams that must write into one page, all but one.
uint32_t CheckedScheduler::CopiesNeeded() const {
  uint32_t needed = 0;
  for (const SequenceId id : decoding_) {
    const Document& document = documents_[id];
    if (document.fed % options_.self_slots == 0) continue;
    std::set<PageId> pages;
    for (const Beam& beam : document.beams) pages.insert(beam.pages.back());
    needed += static_cast<uint32_t>(document.beams.size() - pages.size());
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
  num_copies_ += needed;
}

void CheckedScheduler::FollowDecodes() {
  size_t row = 0;
  for (const SequenceId id : decoding_) {
    for (uint32_t beam = 0; beam < live_beams(id) && !broken_; ++beam, ++row) {
      Expect(row < plan_->decodes.size(), "every beam of every decoding sequence advances");
      if (!broken_) FollowRow(plan_->decodes[row], id, beam);
    }
    ++documents_[id].fed;
  }
  Expect(plan_->decodes.size() == row, "nothing else decodes");
  Expect(plan_->decodes.size() <= options_.max_batch, "rows have a bound");
  for (const SequenceId id : decoding_) CheckValues(id);
}

void CheckedScheduler::FollowRow(const DecodeRow& row, SequenceId id, uint32_t beam) {
  std::vector<PageId>& pages = documents_[id].beams[beam].pages;
  Expect(row.sequence == id && row.beam == beam, "decode rows keep their order");
  Expect(row.position == documents_[id].fed, "decode rows never skip a position");
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
  documents_[id].beams[beam].values.push_back(next_value_++);
}

// Every beam still reads what it and its ancestors wrote.
void CheckedScheduler::CheckValues(SequenceId id) {
  if (!thorough_ || broken_) return;
  const uint32_t slots = options_.self_slots;
  for (const Beam& beam : documents_[id].beams) {
    bool same = true;
    for (size_t i = 0; i < beam.values.size(); ++i) {
      const size_t page = static_cast<size_t>(beam.pages[i / slots]);
      same = same && values_[page * slots + i % slots] == beam.values[i];
    }
    Expect(same, "no beam writes where another one reads");
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
  const bool rows_free = RowsTaken() + documents_[head].spec.beams <= options_.max_batch;
  Expect(!(workspace_free && pages_free && rows_free), "the head waits only for what is missing");
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
  Expect(scheduler_.decoding() == decoding_.size(), "decoding() counts who is in the next step");
  Expect(encoding_.size() <= 2, "two documents are in progress at most");
  Expect(RowsTaken() <= options_.max_batch, "the batch has a bound");
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
      self += CheckBeams(id);
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
  const uint32_t want = admitted ? CeilDiv(document.spec.source_tokens, options_.cross_slots) : 0;
  Expect(cross.size() == want, "cross pages are held from admission on");
  Expect(scheduler_.live_beams(id) == (admitted ? live_beams(id) : 0), "beams live as chosen");
  Expect(document.fed <= document.spec.max_new_tokens, "no position past max_new_tokens is fed");
  for (const PageId page : cross) MarkPage(page, 1);
}

// Returns how many self pages the sequence holds.
uint32_t CheckedScheduler::CheckBeams(SequenceId id) {
  const Document& document = documents_[id];
  std::vector<PageId> held;
  for (uint32_t i = 0; i < document.beams.size(); ++i) {
    const std::vector<PageId>& pages = document.beams[i].pages;
    const auto table = scheduler_.self_pages(id, i);
    Expect(pages.size() == CeilDiv(document.fed, options_.self_slots),
           "self pages are held as far as positions were fed");
    Expect(std::equal(table.begin(), table.end(), pages.begin(), pages.end()),
           "a beam has its parent's pages, then its own");
    held.insert(held.end(), pages.begin(), pages.end());
  }
  std::sort(held.begin(), held.end());
  uint32_t distinct = 0;
  for (size_t i = 0; i < held.size(); ++distinct) {
    const size_t begin = i;
    while (i < held.size() && held[i] == held[begin]) ++i;
    MarkPage(held[begin], static_cast<uint32_t>(i - begin));
  }
  return distinct;
}

void CheckedScheduler::MarkPage(PageId page, uint32_t holders) {
  const bool exists = page >= 0 && static_cast<uint32_t>(page) < pool_.total();
  Expect(exists && page_seen_[static_cast<size_t>(page)] != rounds_,
         "no page serves two sequences");
  if (!exists) return;
  page_seen_[static_cast<size_t>(page)] = rounds_;
  Expect(pool_.holders(page) == holders, "a page counts its holders");
}

std::string CheckedScheduler::StateKey() const {
  std::string key;
  const auto add_spec = [&key](char phase, const SequenceSpec& spec) {
    key += fmt::format("{}{}x{}b{} ", phase, spec.source_tokens, spec.max_new_tokens, spec.beams);
  };
  for (const SequenceId id : waiting_) add_spec('w', documents_[id].spec);
  for (const SequenceId id : encoding_) {
    const Document& d = documents_[id];
    add_spec('e', d.spec);
    key += fmt::format(":{}o{}w{} ", d.next_item, d.overtaken, d.next_item > 0 ? d.workspace : 2);
  }
  for (const SequenceId id : decoding_) {
    const Document& d = documents_[id];
    add_spec('d', d.spec);
    key += fmt::format(":{} ", d.fed);
    if (d.spec.beams == 1) continue;
    // Which beams share which pages: pages by the order in which they are met.
    std::vector<PageId> met;
    for (const Beam& beam : d.beams) {
      for (const PageId page : beam.pages) {
        const auto at = std::find(met.begin(), met.end(), page);
        key += fmt::format("{},", at - met.begin());
        if (at == met.end()) met.push_back(page);
      }
      key += '|';
    }
  }
  return key;
}

}  // namespace precis
