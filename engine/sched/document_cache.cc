#include "engine/sched/document_cache.h"

#include <utility>

#include "common/check.h"

namespace precis {

DocumentCache::DocumentCache(PagePool& pool, uint32_t cross_slots, bool keep)
    : pool_(pool), cross_slots_(cross_slots), keep_(keep) {}

uint32_t DocumentCache::NumPages(uint32_t tokens) const {
  return tokens / cross_slots_ + (tokens % cross_slots_ != 0 ? 1 : 0);
}

const DocumentCache::Document& DocumentCache::Live(DocumentId id) const {
  PRECIS_CHECK(id < documents_.size() && documents_[id].live);
  return documents_[id];
}

DocumentCache::Document& DocumentCache::Live(DocumentId id) {
  return const_cast<Document&>(std::as_const(*this).Live(id));
}

DocumentId DocumentCache::Add(uint32_t tokens) {
  if (free_ids_.empty()) {
    free_ids_.push_back(static_cast<DocumentId>(documents_.size()));
    documents_.emplace_back();
  }
  const DocumentId id = free_ids_.back();
  free_ids_.pop_back();
  Document& document = documents_[id];
  document.live = true;
  document.tokens = tokens;
  document.users = 1;
  return id;
}

void DocumentCache::DropUser(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.users > document.pins);
  if (--document.users > 0) return;
  if (document.state == State::kReady && keep_) return;
  if (document.state == State::kReady) Unkeep(id);
  Forget(id);
}

void DocumentCache::Pin(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.pins < document.users);
  if (document.pins++ == 0 && document.state == State::kReady) Unkeep(id);
}

void DocumentCache::Unpin(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.pins > 0);
  if (--document.pins == 0 && document.state == State::kReady) Keep(id);
}

void DocumentCache::Start(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.state == State::kIdle);
  document.lease = pool_.Lease(PageKind::kCross, NumPages(document.tokens));
  document.state = State::kEncoding;
}

void DocumentCache::FinishEncoding(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.state == State::kEncoding);
  document.state = State::kReady;
  if (document.pins == 0) Keep(id);
}

void DocumentCache::Reset(DocumentId id) {
  Document& document = Live(id);
  PRECIS_CHECK(document.pins == 0);
  if (document.state == State::kReady) Unkeep(id);
  document.lease.Reset();
  document.state = State::kIdle;
  if (document.users == 0) Forget(id);
}

void DocumentCache::MakeRoom(uint32_t pages) {
  while (pool_.available() < pages) {
    PRECIS_CHECK(oldest_ != kNone);
    Reset(oldest_);
  }
}

void DocumentCache::Flush() {
  while (oldest_ != kNone) Reset(oldest_);
}

void DocumentCache::ClearForgotten() {
  free_ids_.insert(free_ids_.end(), forgotten_.begin(), forgotten_.end());
  forgotten_.clear();
}

// At the end of the list: it was used just now.
void DocumentCache::Keep(DocumentId id) {
  Document& document = documents_[id];
  document.before = newest_;
  document.after = kNone;
  (newest_ == kNone ? oldest_ : documents_[newest_].after) = id;
  newest_ = id;
  ++num_kept_;
  evictable_pages_ += static_cast<uint32_t>(document.lease.pages().size());
}

void DocumentCache::Unkeep(DocumentId id) {
  const Document& document = documents_[id];
  (document.before == kNone ? oldest_ : documents_[document.before].after) = document.after;
  (document.after == kNone ? newest_ : documents_[document.after].before) = document.before;
  --num_kept_;
  evictable_pages_ -= static_cast<uint32_t>(document.lease.pages().size());
}

void DocumentCache::Forget(DocumentId id) {
  documents_[id] = Document();  // the lease goes back
  forgotten_.push_back(id);
}

}  // namespace precis
