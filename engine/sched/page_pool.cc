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
  PagePool* const pool = std::exchange(pool_, nullptr);
  // Backwards, so that the next lease of this size gets the same pages in the same order.
  for (; !pages_.empty(); pages_.pop_back()) pool->Drop(kind_, pages_.back());
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
  std::exchange(pool_, nullptr)->Release(std::exchange(left_, 0));
}

PagePool::PagePool(uint32_t num_pages) : total_(num_pages), free_(num_pages), holders_(num_pages) {
  // The top of the stack is page 0: low pages are used first, so a quiet server touches few.
  for (uint32_t i = 0; i < num_pages; ++i) free_[i] = static_cast<PageId>(num_pages - 1 - i);
}

PagePool::~PagePool() { PRECIS_CHECK(leased() == 0 && promised_ == 0); }

PageLease PagePool::Lease(PageKind kind, uint32_t count) {
  PRECIS_CHECK(count <= available());
  PageLease lease;
  lease.pool_ = this;
  lease.kind_ = kind;
  lease.pages_.reserve(count);
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

PageId PagePool::Take(PageKind kind) {
  PRECIS_CHECK(!free_.empty());
  const PageId page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  ++leased_[static_cast<size_t>(kind)];
  peak_leased_ = std::max(peak_leased_, leased());
  return page;
}

PageId PagePool::Take(PageKind kind, PagePromise& promise) {
  PRECIS_CHECK(promise.pool_ == this && promise.left_ > 0);
  --promise.left_;
  --promised_;
  return Take(kind);
}

void PagePool::Share(PageId page) {
  PRECIS_CHECK(holders(page) > 0);
  ++holders_[static_cast<size_t>(page)];
}

bool PagePool::Drop(PageKind kind, PageId page) {
  uint32_t& leased = leased_[static_cast<size_t>(kind)];
  PRECIS_CHECK(holders(page) > 0 && leased > 0);
  if (--holders_[static_cast<size_t>(page)] > 0) return false;
  --leased;
  free_.push_back(page);
  return true;
}

void PagePool::Drop(PageKind kind, PageId page, PagePromise& promise) {
  PRECIS_CHECK(promise.pool_ == this);
  if (!Drop(kind, page)) return;
  ++promise.left_;
  ++promised_;
}

void PagePool::Release(uint32_t promised) {
  PRECIS_CHECK(promised <= promised_);
  promised_ -= promised;
}

}  // namespace precis
