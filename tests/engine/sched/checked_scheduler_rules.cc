// What must hold after every act, and what the shadow's state is called.
#include <algorithm>

#include "fmt/format.h"
#include "tests/engine/sched/checked_scheduler.h"

namespace precis {
namespace {

uint32_t CeilDiv(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

}  // namespace

std::optional<DocumentId> CheckedScheduler::FindDocument(uint32_t tokens) const {
  std::optional<DocumentId> found;
  for (DocumentId id = 0; id < documents_.size(); ++id) {
    const Document& d = documents_[id];
    if (!d.live || d.tokens != tokens) continue;
    if (!found || d.arrival < documents_[*found].arrival) found = id;
  }
  return found;
}

bool CheckedScheduler::OnLastPosition(SequenceId id) const {
  return sequences_[id].fed + 1 == sequences_[id].spec.max_new_tokens;
}

uint32_t CheckedScheduler::RowsTaken() const {
  uint32_t rows = 0;
  for (const auto* ids : {&encoding_, &decoding_}) {
    for (const SequenceId id : *ids) rows += sequences_[id].spec.beams;
  }
  return rows;
}

uint32_t CheckedScheduler::PagesOf(DocumentId id) const {
  return CeilDiv(documents_[id].tokens, options_.cross_slots);
}

std::vector<DocumentId> CheckedScheduler::Kept() const {
  std::vector<DocumentId> kept;
  for (DocumentId id = 0; id < documents_.size(); ++id) {
    const Document& d = documents_[id];
    if (d.live && d.state == State::kReady && d.pins == 0) kept.push_back(id);
  }
  std::sort(kept.begin(), kept.end(), [this](DocumentId a, DocumentId b) {
    return documents_[a].kept_since < documents_[b].kept_since;
  });
  return kept;
}

// Every beam still reads what it and its ancestors wrote.
void CheckedScheduler::CheckValues(SequenceId id) {
  if (!thorough_ || broken_) return;
  const uint32_t slots = options_.self_slots;
  for (const Beam& beam : sequences_[id].beams) {
    bool same = true;
    for (size_t i = 0; i < beam.values.size(); ++i) {
      const size_t page = static_cast<size_t>(beam.pages[i / slots]);
      same = same && values_[page * slots + i % slots] == beam.values[i];
    }
    Expect(same, "no beam writes where another one reads");
  }
}

void CheckedScheduler::CheckWorkspace(const EncodeSlice& slice) {
  const Document& document = documents_[slice.document];
  Expect(slice.workspace < 2, "there are two workspaces");
  Expect(document.next_item == 0 || document.workspace == slice.workspace,
         "a document stays in its workspace");
  for (const DocumentId id : in_progress_) {
    const bool clash = id != slice.document && documents_[id].next_item > 0 &&
                       documents_[id].workspace == slice.workspace;
    Expect(!clash, "no two documents share a workspace");
  }
}

void CheckedScheduler::CheckNothingIdles(double left_us) {
  if (broken_) return;
  Expect(!lacks_drafts_ || RowsTaken() + num_drafts_ >= options_.max_batch,
         "drafts are left out only where rows run out");
  if (!in_progress_.empty()) {
    Expect(!plan_->encodes.empty(), "encoding does not starve");
    const bool second = in_progress_.size() == 2 &&
                        MayOvertake(RemainingMicroseconds(in_progress_[1]), in_progress_[0]);
    const Document& next = documents_[in_progress_[second ? 1 : 0]];
    const EncodeItem item = EncodeItemAt(options_.encode_shape, next.tokens, next.next_item);
    Expect(PredictMicroseconds(options_.encode_costs, item, next.tokens) > left_us,
           "the budget is used as far as the next item allows");
  }
  const auto head = queue_.head();
  if (!head) return;
  const SequenceSpec& spec = sequences_[*head].spec;
  const DocumentId document = sequences_[*head].document;
  const bool workspace_free =
      documents_[document].state != State::kIdle || in_progress_.empty() ||
      (in_progress_.size() == 1 && MayOvertake(RemainingMicroseconds(document), in_progress_[0]));
  const bool rows_free = RowsTaken() + spec.beams <= options_.max_batch;
  Expect(!(workspace_free && HeadHasPages(*head) && rows_free),
         "the head waits only for what is missing");
}

// Free pages and those of kept documents but its own.
bool CheckedScheduler::HeadHasPages(SequenceId head) const {
  const DocumentId own = sequences_[head].document;
  uint32_t can_have = pool_.available();
  for (const DocumentId id : Kept()) can_have += id == own ? 0 : PagesOf(id);
  uint32_t needed = scheduler_.WorstCasePages(sequences_[head].spec);
  if (documents_[own].state != State::kIdle) needed -= PagesOf(own);
  return needed <= can_have;
}

double CheckedScheduler::RemainingMicroseconds(DocumentId id) const {
  const Document& document = documents_[id];
  double sum_us = 0;
  for (uint32_t i = document.next_item; i < NumEncodeItems(options_.encode_shape, document.tokens);
       ++i) {
    const EncodeItem item = EncodeItemAt(options_.encode_shape, document.tokens, i);
    sum_us += PredictMicroseconds(options_.encode_costs, item, document.tokens);
  }
  return sum_us;
}

bool CheckedScheduler::MayOvertake(double other_us, DocumentId oldest) const {
  return documents_[oldest].overtaken < options_.max_overtakes &&
         other_us < RemainingMicroseconds(oldest);
}

void CheckedScheduler::CheckInvariants() {
  if (!thorough_ || broken_) return;
  Expect(scheduler_.waiting() == waiting_.size(), "waiting() counts the queue");
  Expect(scheduler_.encoding() == encoding_.size(), "encoding() counts who waits for an encode");
  Expect(scheduler_.decoding() == decoding_.size(), "decoding() counts who is in the next step");
  Expect(in_progress_.size() <= 2, "two documents are in progress at most");
  Expect(RowsTaken() <= options_.max_batch, "the batch has a bound");
  uint64_t cost = 0;
  for (const SequenceId id : waiting_) cost += CostOf(sequences_[id].spec);
  Expect(scheduler_.waiting_cost() == cost, "the queue adds up what waits");
  ++rounds_;
  CheckDocuments();
  uint32_t self = 0;
  uint32_t worst = 0;
  for (const SequenceId id : waiting_) CheckSequence(id);
  for (const auto* ids : {&encoding_, &decoding_}) {
    for (const SequenceId id : *ids) {
      CheckSequence(id);
      self += CheckBeams(id);
      const SequenceSpec& spec = sequences_[id].spec;
      worst += scheduler_.WorstCasePages(spec) - CeilDiv(spec.source_tokens, options_.cross_slots);
    }
  }
  Expect(pool_.leased(PageKind::kSelf) == self, "leased self pages are the sequences' own");
  Expect(pool_.leased(PageKind::kSelf) + pool_.promised() == worst,
         "the worst case is leased or promised");
  Expect(pool_.leased() + pool_.promised() + pool_.available() == pool_.total(),
         "leased, promised and available pages are all pages");
  Expect(pool_.peak_leased() >= pool_.leased(), "the peak is a peak");
}

void CheckedScheduler::CheckDocuments() {
  uint32_t cross = 0;
  uint32_t kept_pages = 0;
  const std::vector<DocumentId> kept = Kept();
  for (DocumentId id = 0; id < documents_.size(); ++id) {
    const Document& d = documents_[id];
    if (!d.live) continue;
    const auto pages = scheduler_.document_pages(id);
    Expect(pages.size() == (d.state == State::kIdle ? 0 : PagesOf(id)),
           "a document has its pages from the start of its encoding on");
    Expect(d.pins == 0 || d.state != State::kIdle, "what is read is not given up");
    for (const PageId page : pages) MarkPage(page, 1);
    cross += static_cast<uint32_t>(pages.size());
  }
  for (const DocumentId id : kept) kept_pages += PagesOf(id);
  Expect(pool_.leased(PageKind::kCross) == cross, "leased cross pages are the documents' own");
  Expect(scheduler_.kept_pages() == kept_pages, "kept_pages() counts what may be given up");
  Expect(scheduler_.kept_documents() == kept.size(), "kept_documents() counts them");
  const bool unused_kept = std::any_of(kept.begin(), kept.end(),
                                       [this](DocumentId id) { return documents_[id].users == 0; });
  Expect(options_.keep_documents || !unused_kept, "nothing is kept unless asked");
}

void CheckedScheduler::CheckSequence(SequenceId id) {
  const Sequence& s = sequences_[id];
  Expect(scheduler_.document(id) == s.document, "a sequence stays with its document");
  Expect(scheduler_.live_beams(id) == (s.admitted ? live_beams(id) : 0), "beams live as chosen");
  Expect(s.fed <= s.spec.max_new_tokens, "no position past max_new_tokens is fed");
}

// Returns how many self pages the sequence holds.
uint32_t CheckedScheduler::CheckBeams(SequenceId id) {
  const Sequence& s = sequences_[id];
  std::vector<PageId> held;
  for (uint32_t i = 0; i < s.beams.size(); ++i) {
    const std::vector<PageId>& pages = s.beams[i].pages;
    const auto table = scheduler_.self_pages(id, i);
    Expect(pages.size() ==
               CeilDiv(static_cast<uint32_t>(s.beams[i].values.size()), options_.self_slots),
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
  Expect(exists && page_seen_[static_cast<size_t>(page)] != rounds_, "no page serves two masters");
  if (!exists) return;
  page_seen_[static_cast<size_t>(page)] = rounds_;
  Expect(pool_.holders(page) == holders, "a page counts its holders");
}

std::string CheckedScheduler::StateKey() const {
  std::string key;
  // Documents by the order in which they are met.
  std::vector<DocumentId> met;
  const auto name = [&met](DocumentId id) {
    const auto at = std::find(met.begin(), met.end(), id);
    const auto index = at - met.begin();
    if (at == met.end()) met.push_back(id);
    return index;
  };
  const auto add = [&](char phase, SequenceId id) {
    const SequenceSpec& spec = sequences_[id].spec;
    key += fmt::format("{}{}x{}b{}t{}p{}d{} ", phase, spec.source_tokens, spec.max_new_tokens,
                       spec.beams, spec.tenant, static_cast<int>(spec.priority),
                       name(sequences_[id].document));
  };
  for (const SequenceId id : waiting_) add('w', id);
  for (const SequenceId id : encoding_) add('e', id);
  for (const DocumentId id : in_progress_) {
    const Document& d = documents_[id];
    key += fmt::format("i{}:{}o{}w{} ", name(id), d.next_item, d.overtaken,
                       d.next_item > 0 ? d.workspace : 2);
  }
  for (const DocumentId id : Kept()) key += fmt::format("k{}t{} ", name(id), documents_[id].tokens);
  for (const SequenceId id : decoding_) {
    const Sequence& s = sequences_[id];
    add('d', id);
    key += fmt::format(":{} ", s.fed);
    if (s.spec.beams == 1) continue;
    // Which beams share which pages: pages by the order in which they are met.
    std::vector<PageId> pages;
    for (const Beam& beam : s.beams) {
      for (const PageId page : beam.pages) {
        const auto at = std::find(pages.begin(), pages.end(), page);
        key += fmt::format("{},", at - pages.begin());
        if (at == pages.end()) pages.push_back(page);
      }
      key += '|';
    }
  }
  return key;
}

}  // namespace precis
