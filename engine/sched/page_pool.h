// Which pages are free and how many the others hold: ids and counts, no bytes. One pool for self
// and cross. A page counts its holders (beams share pages, engine/sched/self_pages.h) and is free
// when the last of them gives it back; it is leased once, however many hold it.
//
// Owner: the scheduler's owner; it outlives every lease and promise. Thread rule: one thread (the
// step thread).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sched/step_plan.h"

namespace precis {

enum class PageKind : uint8_t { kSelf, kCross };

class PagePool;
class SelfPages;

// Pages with a holder; the destructor gives them back. Move-only.
class PageLease {
 public:
  PageLease() = default;
  PageLease(PageLease&& other) noexcept;
  PageLease& operator=(PageLease&& other) noexcept;
  ~PageLease() { Reset(); }

  std::span<const PageId> pages() const { return pages_; }
  void Reset();

 private:
  friend class PagePool;
  PagePool* pool_ = nullptr;
  PageKind kind_ = PageKind::kSelf;
  std::vector<PageId> pages_;
};

// Pages kept back for a sequence that does not need them yet; the destructor frees the promise.
class PagePromise {
 public:
  PagePromise() = default;
  PagePromise(PagePromise&& other) noexcept;
  PagePromise& operator=(PagePromise&& other) noexcept;
  ~PagePromise() { Reset(); }
  uint32_t left() const { return left_; }
  void Reset();

 private:
  friend class PagePool;
  PagePool* pool_ = nullptr;
  uint32_t left_ = 0;
};

class PagePool {
 public:
  explicit PagePool(uint32_t num_pages);
  ~PagePool();  // checks that everything came back
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  uint32_t total() const { return total_; }
  uint32_t leased(PageKind kind) const { return leased_[static_cast<size_t>(kind)]; }
  uint32_t leased() const { return leased(PageKind::kSelf) + leased(PageKind::kCross); }
  uint32_t promised() const { return promised_; }
  // Most pages leased at once, of both kinds together.
  uint32_t peak_leased() const { return peak_leased_; }
  // Neither leased nor promised.
  uint32_t available() const { return total_ - leased() - promised_; }
  // 0: the page is free.
  uint32_t holders(PageId page) const { return holders_[static_cast<size_t>(page)]; }

  // Both require count <= available().
  PageLease Lease(PageKind kind, uint32_t count);
  PagePromise Promise(uint32_t count);

 private:
  friend class PageLease;
  friend class PagePromise;
  friend class SelfPages;
  // Takes a free page, held once; the second one redeems a promise, which must have one left.
  PageId Take(PageKind kind);
  PageId Take(PageKind kind, PagePromise& promise);
  // One holder more; requires that the page is not free.
  void Share(PageId page);
  // One holder less; true: it was the last one, and the page is free.
  bool Drop(PageKind kind, PageId page);
  // The same, and a page that becomes free is promised again.
  void Drop(PageKind kind, PageId page, PagePromise& promise);
  void Release(uint32_t promised);  // so many promised pages are free again

  const uint32_t total_;
  std::vector<PageId> free_;       // a stack; promised pages are in it
  std::vector<uint32_t> holders_;  // by page
  uint32_t leased_[2] = {0, 0};
  uint32_t promised_ = 0;
  uint32_t peak_leased_ = 0;
};

}  // namespace precis
