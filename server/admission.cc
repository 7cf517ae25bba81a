#include "server/admission.h"

#include <chrono>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "server/errors.h"

namespace precis {
namespace {

Status CheckQuota(const ClientUse& use) {
  if (!use.HasPlace()) {
    return ReasonError(
        absl::StatusCode::kResourceExhausted, Reason::kQuota,
        fmt::format("{} requests of this client are under way, its limit", use.requests()));
  }
  if (const Duration wait = use.UntilCredit(); wait.count() != 0) {
    return WithRetryAfter(
        ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQuota,
                    fmt::format("this client has used up its rate of {} tokens (source and new) a "
                                "second; again in {:.1f} s",
                                use.limits().tokens_per_second, Seconds(wait))),
        wait);
  }
  return OkStatus();
}

}  // namespace

AdmissionPermit::AdmissionPermit(AdmissionPermit&& other) noexcept
    : admission_(std::exchange(other.admission_, nullptr)),
      use_(other.use_),
      tokens_(other.tokens_) {}

AdmissionPermit& AdmissionPermit::operator=(AdmissionPermit&& other) noexcept {
  if (this != &other) {
    Release();
    admission_ = std::exchange(other.admission_, nullptr);
    use_ = other.use_;
    tokens_ = other.tokens_;
  }
  return *this;
}

void AdmissionPermit::Release() {
  if (Admission* admission = std::exchange(admission_, nullptr)) admission->Return(use_, tokens_);
}

void AdmissionPermit::SetTokens(uint64_t tokens) {
  if (admission_ == nullptr) return;
  admission_->Change(use_, tokens_, tokens);
  tokens_ = tokens;
}

StatusOr<AdmissionPermit> Admission::TryAdmit(const Client& client, uint64_t tokens) {
  MutexLock lock(mutex_);
  ClientUse* const use = uses_.Of(client, clock_->Now());
  if (use != nullptr) PRECIS_RETURN_IF_ERROR(CheckQuota(*use));
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
  if (use != nullptr) use->Begin(tokens);
  return AdmissionPermit(this, use, tokens);
}

AdmissionPermit Admission::AdmitOrWait(const Client& client, const void* key,
                                       std::function<void()> wake, Duration* wait) {
  MutexLock lock(mutex_);
  ClientUse* const use = uses_.Of(client, clock_->Now());
  *wait = use == nullptr ? Duration(0) : use->UntilCredit();
  if (wait->count() != 0) return {};
  const bool has_place = use == nullptr || use->HasPlace();
  if (!has_place || requests_ >= limits_.max_requests ||
      (requests_ > 0 && tokens_ >= limits_.max_tokens)) {
    waiting_[key] = std::move(wake);
    return {};
  }
  ++requests_;
  if (use != nullptr) use->Begin(0);
  return AdmissionPermit(this, use, 0);
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

std::vector<ClientCount> Admission::ClientsUnderWay() const {
  MutexLock lock(mutex_);
  return uses_.UnderWay();
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

void Admission::Return(ClientUse* use, uint64_t tokens) {
  std::map<const void*, std::function<void()>> woken;
  {
    MutexLock lock(mutex_);
    PRECIS_CHECK(requests_ > 0 && tokens_ >= tokens);
    --requests_;
    tokens_ -= tokens;
    if (use != nullptr) use->End();
    if (requests_ == 0) idle_.NotifyAll();
    woken.swap(waiting_);
  }
  for (auto& [key, wake] : woken) wake();
}

void Admission::Change(ClientUse* use, uint64_t from, uint64_t to) {
  std::map<const void*, std::function<void()>> woken;
  {
    MutexLock lock(mutex_);
    tokens_ = tokens_ - from + to;
    if (use != nullptr) use->Charge(from, to);
    if (to < from) woken.swap(waiting_);
  }
  for (auto& [key, wake] : woken) wake();
}

}  // namespace precis
