// The sources that sequences read: which are encoded, who uses them, and which are kept for the
// next request on the same text (the cross-page cache). Counts and pages only; what a document
// says, and whose it is, is the caller's matter.
//
//            Start                 FinishEncoding
//   idle ------------> encoding ------------------> ready: pinned while an admitted sequence reads
//    ^  no pages         | no one uses it any more     |    it, else kept until its pages are
//    needed
//    +-------------------+-----------------------------+
//
// An encode belongs to the document: it goes on while any sequence, admitted or waiting, uses it.
// Owner: the scheduler. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sched/page_pool.h"
#include "engine/sched/step_plan.h"

namespace precis {

class DocumentCache {
 public:
  enum class State : uint8_t { kIdle, kEncoding, kReady };

  // keep: documents that no one reads stay while their pages are not needed.
  DocumentCache(PagePool& pool, uint32_t cross_slots, bool keep);

  // A new document, idle, with one user.
  DocumentId Add(uint32_t tokens);
  // One user more or less: a sequence that is waiting or admitted. Who drops a pinned one's last
  // user unpins it first. A document without users is forgotten unless it is ready and kept.
  void AddUser(DocumentId id) { ++Live(id).users; }
  void DropUser(DocumentId id);
  // An admitted sequence reads it or will; its pages are not taken away.
  void Pin(DocumentId id);
  void Unpin(DocumentId id);

  // Idle to encoding; takes its pages, which must be available, after MakeRoom().
  void Start(DocumentId id);
  void FinishEncoding(DocumentId id);
  // What was encoded is worth nothing: back to idle. Requires that no one pins it.
  void Reset(DocumentId id);

  // Gives up kept documents, those longest unused first, until `pages` are available. Requires
  // pages <= pool.available() + evictable_pages().
  void MakeRoom(uint32_t pages);
  // Gives up all documents that no one reads.
  void Flush();

  State state(DocumentId id) const { return Live(id).state; }
  uint32_t tokens(DocumentId id) const { return Live(id).tokens; }
  uint32_t users(DocumentId id) const { return Live(id).users; }
  bool pinned(DocumentId id) const { return Live(id).pins > 0; }
  std::span<const PageId> pages(DocumentId id) const { return Live(id).lease.pages(); }
  uint32_t NumPages(uint32_t tokens) const;

  // Of ready documents that no one reads; MakeRoom() can have them.
  uint32_t evictable_pages() const { return evictable_pages_; }
  uint32_t num_kept() const { return num_kept_; }

  // Documents that ended since the last ClearForgotten(): their ids are not used again before it.
  std::span<const DocumentId> forgotten() const { return forgotten_; }
  void ClearForgotten();

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Document {
    bool live = false;
    State state = State::kIdle;
    uint32_t tokens = 0;
    uint32_t users = 0;
    uint32_t pins = 0;
    PageLease lease;
    // Neighbours in the list of kept ones, from the longest unused.
    uint32_t before = kNone;
    uint32_t after = kNone;
  };

  const Document& Live(DocumentId id) const;
  Document& Live(DocumentId id);
  void Keep(DocumentId id);
  void Unkeep(DocumentId id);
  void Forget(DocumentId id);

  PagePool& pool_;
  const uint32_t cross_slots_;
  const bool keep_;
  std::vector<Document> documents_;  // by id
  std::vector<DocumentId> free_ids_;
  std::vector<DocumentId> forgotten_;
  uint32_t oldest_ = kNone;
  uint32_t newest_ = kNone;
  uint32_t num_kept_ = 0;
  uint32_t evictable_pages_ = 0;
};

}  // namespace precis
