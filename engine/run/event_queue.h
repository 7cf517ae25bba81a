// The way of one sequence's events from the step thread to its reader: a ring with room for all of
// them, so that a slow reader never blocks the step thread, and the reader's request to cancel.
//
// Owner: shared by the step thread and the handle; whichever lets go last ends it. Thread rule: one
// thread pushes (the step thread), one polls; RequestCancel from any.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "common/check.h"
#include "engine/api/sequence.h"

namespace precis {

class EventQueue {
 public:
  // kStarted, max_new_tokens tokens, kFinished.
  EventQueue(uint32_t max_new_tokens, std::shared_ptr<EventListener> listener)
      : ring_(max_new_tokens + 2), listener_(std::move(listener)) {}

  // --- step thread
  void Push(TokenEvent event) {
    const size_t n = written_.load(std::memory_order_relaxed);
    PRECIS_CHECK(n < ring_.size());
    ring_[n] = std::move(event);
    written_.store(n + 1, std::memory_order_release);
  }
  void Notify() {
    if (listener_) listener_->OnEvents();
  }
  bool cancel_requested() const { return cancel_.load(std::memory_order_acquire); }
  void SetHypotheses(std::vector<Hypothesis> all) {
    hypotheses_ = std::move(all);
  }  // before kFinished is pushed

  // --- reader
  std::optional<TokenEvent> Poll() {
    if (read_ == written_.load(std::memory_order_acquire)) return std::nullopt;
    return std::move(ring_[read_++]);
  }
  const std::vector<Hypothesis>& hypotheses() const { return hypotheses_; }

  void RequestCancel() { cancel_.store(true, std::memory_order_release); }

 private:
  std::vector<TokenEvent> ring_;  // written once each, never wraps
  std::atomic<size_t> written_{0};
  size_t read_ = 0;
  std::atomic<bool> cancel_{false};
  std::vector<Hypothesis> hypotheses_;
  const std::shared_ptr<EventListener> listener_;
};

}  // namespace precis
