#include "engine/sched/page_pool.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace precis {

PageLease::PageLease(PageLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      kind_(other.kind_),
      pages_(std::move(other.pages_)) {
  other.pages_.clear();
}

PageLease& PageLease::operator=(PageLease&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  pool_ = std::exchange(other.pool_, nullptr);
  kind_ = other.kind_;
  pages_ = std::move(other.pages_);
  other.pages_.clear();
  return *this;
}

void PageLease::Reset() {
  if (pool_ == nullptr) return;
  std::exchange(pool_, nullptr)->Return(kind_, pages_);
  pages_.clear();
}

PagePromise::PagePromise(PagePromise&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), left_(std::exchange(other.left_, 0)) {}

PagePromise& PagePromise::operator=(PagePromise&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  pool_ = std::exchange(other.pool_, nullptr);
  left_ = std::exchange(other.left_, 0);
  return *this;
}

void PagePromise::Reset() {
  if (pool_ == nullptr) return;
  std::exchange(pool_, nullptr)->Forgive(std::exchange(left_, 0));
}

PagePool::PagePool(uint32_t num_pages) : total_(num_pages), free_(num_pages) {
  // The top of the stack is page 0: low pages are used first, so a quiet server touches few.
  for (uint32_t i = 0; i < num_pages; ++i) free_[i] = static_cast<PageId>(num_pages - 1 - i);
}

PagePool::~PagePool() { PRECIS_CHECK(leased() == 0 && promised_ == 0); }

PageLease PagePool::Lease(PageKind kind, uint32_t count, uint32_t reserve_pages) {
  PRECIS_CHECK(count <= available());
  PageLease lease;
  lease.pool_ = this;
  lease.kind_ = kind;
  lease.pages_.reserve(std::max(count, reserve_pages));
  for (uint32_t i = 0; i < count; ++i) lease.pages_.push_back(Take(kind));
  return lease;
}

PagePromise PagePool::Promise(uint32_t count) {
  PRECIS_CHECK(count <= available());
  promised_ += count;
  PagePromise promise;
  promise.pool_ = this;
  promise.left_ = count;
  return promise;
}

PageId PagePool::Extend(PageLease& lease, PagePromise& promise) {
  PRECIS_CHECK(lease.pool_ == this && promise.pool_ == this && promise.left_ > 0);
  --promise.left_;
  --promised_;
  const PageId page = Take(lease.kind_);
  lease.pages_.push_back(page);
  return page;
}

PageId PagePool::Take(PageKind kind) {
  PRECIS_CHECK(!free_.empty());
  const PageId page = free_.back();
  free_.pop_back();
  ++leased_[static_cast<size_t>(kind)];
  peak_leased_ = std::max(peak_leased_, leased());
  return page;
}

void PagePool::Return(PageKind kind, std::span<const PageId> pages) {
  uint32_t& count = leased_[static_cast<size_t>(kind)];
  PRECIS_CHECK(pages.size() <= count);
  count -= static_cast<uint32_t>(pages.size());
  // Backwards, so that the next lease of this size gets the same pages in the same order.
  free_.insert(free_.end(), pages.rbegin(), pages.rend());
}

void PagePool::Forgive(uint32_t promised) {
  PRECIS_CHECK(promised <= promised_);
  promised_ -= promised;
}

}  // namespace precis
