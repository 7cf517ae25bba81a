// The self pages of one sequence: a page table a beam. Beams share the pages of what they have in
// common and get a page of their own when they must write (copy-on-write). All it may ever need is
// promised when it is made; what it gives back meanwhile is promised again.
//
// Owner: the scheduler, one an admitted sequence. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/step_plan.h"

namespace precis {

class SelfPages {
 public:
  SelfPages() = default;  // holds nothing, is promised nothing
  // One live beam with an empty table. Requires WorstCase(...) <= pool.available(). Makes room for
  // all tables, so that later calls allocate nothing.
  SelfPages(PagePool& pool, uint32_t max_beams, uint32_t pages_per_beam);
  SelfPages(SelfPages&& other) noexcept;
  SelfPages& operator=(SelfPages&& other) noexcept;
  ~SelfPages() { Reset(); }
  void Reset();

  // Pages promised: full tables for all beams that share nothing, and a page a beam for copies.
  // Within its tables a sequence never needs the latter: a copy is made only of a page that another
  // beam keeps, so distinct pages <= beams x length of a table, also between the copies of a step.
  static uint32_t WorstCase(uint32_t max_beams, uint32_t pages_per_beam) {
    return max_beams * pages_per_beam + (max_beams > 1 ? max_beams : 0);
  }

  uint32_t live() const { return live_; }
  // The same length for all live beams.
  std::span<const PageId> table(uint32_t beam) const;
  uint32_t promised() const { return promise_.left(); }

  // Makes the page in which slot `slot` is next a page that its beam alone holds, for every live
  // beam: at slot 0 a new one at the end of the table; else the table's last, which is copied
  // (appended to `copies`, filled slots only) as long as another beam holds it too.
  void PrepareWrite(uint32_t slot, std::vector<PageCopy>* copies);

  // Without beams: cuts the table after `pages` pages, as when drafts were written in vain.
  void Truncate(uint32_t pages);

  // Beam i becomes a continuation of beam parents[i]; there are parents.size() live beams then
  // (1 to max_beams). Copies page tables, no pages. Pages that no beam holds any more go back.
  void Reorder(std::span<const uint32_t> parents);

 private:
  PageId* Row(uint32_t buffer, uint32_t beam) {
    return tables_.data() + (size_t{buffer} * max_beams_ + beam) * pages_per_beam_;
  }
  bool KeepsAll(std::span<const uint32_t> parents) const;

  PagePool* pool_ = nullptr;
  PagePromise promise_;
  uint32_t max_beams_ = 0;
  uint32_t pages_per_beam_ = 0;
  uint32_t live_ = 0;
  uint32_t length_ = 0;         // pages in each live beam's table
  uint32_t buffer_ = 0;         // which of the two sets of tables counts; one beam has one set
  std::vector<PageId> tables_;  // [2, max_beams, pages_per_beam]
};

}  // namespace precis
