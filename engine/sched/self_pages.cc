#include "engine/sched/self_pages.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace precis {

SelfPages::SelfPages(PagePool& pool, uint32_t max_beams, uint32_t pages_per_beam)
    : pool_(&pool),
      promise_(pool.Promise(WorstCase(max_beams, pages_per_beam))),
      max_beams_(max_beams),
      pages_per_beam_(pages_per_beam),
      live_(1),
      tables_((max_beams > 1 ? size_t{2} : size_t{1}) * max_beams * pages_per_beam) {
  PRECIS_CHECK(max_beams > 0 && pages_per_beam > 0);
}

SelfPages::SelfPages(SelfPages&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      promise_(std::move(other.promise_)),
      max_beams_(other.max_beams_),
      pages_per_beam_(other.pages_per_beam_),
      live_(std::exchange(other.live_, 0)),
      length_(std::exchange(other.length_, 0)),
      buffer_(other.buffer_),
      tables_(std::move(other.tables_)) {}

SelfPages& SelfPages::operator=(SelfPages&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  pool_ = std::exchange(other.pool_, nullptr);
  promise_ = std::move(other.promise_);
  max_beams_ = other.max_beams_;
  pages_per_beam_ = other.pages_per_beam_;
  live_ = std::exchange(other.live_, 0);
  length_ = std::exchange(other.length_, 0);
  buffer_ = other.buffer_;
  tables_ = std::move(other.tables_);
  return *this;
}

void SelfPages::Reset() {
  if (pool_ == nullptr) return;
  for (uint32_t beam = live_; beam > 0; --beam) {
    const std::span<const PageId> pages = table(beam - 1);
    // Backwards, so that the next sequence gets the same pages in the same order.
    std::for_each(pages.rbegin(), pages.rend(),
                  [this](PageId page) { pool_->Drop(PageKind::kSelf, page, promise_); });
  }
  promise_.Reset();
  pool_ = nullptr;
  live_ = 0;
  length_ = 0;
}

std::span<const PageId> SelfPages::table(uint32_t beam) const {
  // Before admission no beam is live and beam 0 has an empty table.
  PRECIS_CHECK(beam < std::max(live_, 1u));
  return {tables_.data() + (size_t{buffer_} * max_beams_ + beam) * pages_per_beam_, length_};
}

void SelfPages::PrepareWrite(uint32_t slot, std::vector<PageCopy>* copies) {
  if (slot == 0) {
    PRECIS_CHECK(length_ < pages_per_beam_);
    for (uint32_t beam = 0; beam < live_; ++beam) {
      Row(buffer_, beam)[length_] = pool_->Take(PageKind::kSelf, promise_);
    }
    ++length_;
    return;
  }
  PRECIS_CHECK(length_ > 0);
  for (uint32_t beam = 0; beam < live_; ++beam) {
    PageId& page = Row(buffer_, beam)[length_ - 1];
    if (pool_->holders(page) == 1) continue;  // of those that share it, the last keeps the original
    const PageId copy = pool_->Take(PageKind::kSelf, promise_);
    copies->push_back({page, copy, slot});
    pool_->Drop(PageKind::kSelf, page, promise_);
    page = copy;
  }
}

void SelfPages::Truncate(uint32_t pages) {
  PRECIS_CHECK(live_ == 1);
  for (; length_ > pages; --length_) {
    pool_->Drop(PageKind::kSelf, Row(buffer_, 0)[length_ - 1], promise_);
  }
}

bool SelfPages::KeepsAll(std::span<const uint32_t> parents) const {
  if (parents.size() != live_) return false;
  for (uint32_t beam = 0; beam < live_; ++beam) {
    if (parents[beam] != beam) return false;
  }
  return true;
}

void SelfPages::Reorder(std::span<const uint32_t> parents) {
  PRECIS_CHECK(!parents.empty() && parents.size() <= max_beams_);
  if (KeepsAll(parents)) return;
  // Here max_beams > 1: a single beam can only continue itself, or the check below fails.
  const uint32_t next = 1 - buffer_;
  for (uint32_t beam = 0; beam < parents.size(); ++beam) {
    PRECIS_CHECK(parents[beam] < live_);
    const std::span<const PageId> parent = table(parents[beam]);
    std::copy(parent.begin(), parent.end(), Row(next, beam));
    for (const PageId page : parent) pool_->Share(page);
  }
  // The old tables let go only now, so that no page is free in between.
  for (uint32_t beam = 0; beam < live_; ++beam) {
    for (const PageId page : table(beam)) pool_->Drop(PageKind::kSelf, page, promise_);
  }
  buffer_ = next;
  live_ = static_cast<uint32_t>(parents.size());
}

}  // namespace precis
