#include "server/admission.h"

#include <chrono>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"

namespace precis {

AdmissionPermit::AdmissionPermit(AdmissionPermit&& other) noexcept
    : admission_(std::exchange(other.admission_, nullptr)), tokens_(other.tokens_) {}

AdmissionPermit& AdmissionPermit::operator=(AdmissionPermit&& other) noexcept {
  if (this != &other) {
    Release();
    admission_ = std::exchange(other.admission_, nullptr);
    tokens_ = other.tokens_;
  }
  return *this;
}

void AdmissionPermit::Release() {
  if (Admission* admission = std::exchange(admission_, nullptr)) admission->Return(tokens_);
}

void AdmissionPermit::SetTokens(uint64_t tokens) {
  if (admission_ == nullptr) return;
  admission_->Change(tokens_, tokens);
  tokens_ = tokens;
}

StatusOr<AdmissionPermit> Admission::TryAdmit(uint64_t tokens) {
  MutexLock lock(mutex_);
  if (requests_ >= limits_.max_requests) {
    return ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
                       fmt::format("{} requests are under way, the limit", requests_));
  }
  if (requests_ > 0 && tokens_ + tokens > limits_.max_tokens) {
    return ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
                       fmt::format("requests of {} tokens (source and new) are under way, this one "
                                   "has about {}; the limit "
                                   "is {}",
                                   tokens_, tokens, limits_.max_tokens));
  }
  ++requests_;
  tokens_ += tokens;
  return AdmissionPermit(this, tokens);
}

AdmissionPermit Admission::AdmitOrWait(const void* key, std::function<void()> wake) {
  MutexLock lock(mutex_);
  if (requests_ >= limits_.max_requests || (requests_ > 0 && tokens_ >= limits_.max_tokens)) {
    waiting_[key] = std::move(wake);
    return {};
  }
  ++requests_;
  return AdmissionPermit(this, 0);
}

void Admission::Forget(const void* key) {
  MutexLock lock(mutex_);
  waiting_.erase(key);
}

uint64_t Admission::requests() const {
  MutexLock lock(mutex_);
  return requests_;
}

uint64_t Admission::tokens() const {
  MutexLock lock(mutex_);
  return tokens_;
}

bool Admission::WaitIdle(std::chrono::nanoseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  while (requests_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) return false;
    idle_.WaitFor(mutex_, left);
  }
  return true;
}

void Admission::Return(uint64_t tokens) {
  std::map<const void*, std::function<void()>> woken;
  {
    MutexLock lock(mutex_);
    PRECIS_CHECK(requests_ > 0 && tokens_ >= tokens);
    --requests_;
    tokens_ -= tokens;
    if (requests_ == 0) idle_.NotifyAll();
    woken.swap(waiting_);
  }
  for (auto& [key, wake] : woken) wake();
}

void Admission::Change(uint64_t from, uint64_t to) {
  std::map<const void*, std::function<void()>> woken;
  {
    MutexLock lock(mutex_);
    tokens_ = tokens_ - from + to;
    if (to < from) woken.swap(waiting_);
  }
  for (auto& [key, wake] : woken) wake();
}

}  // namespace precis
