#include "server/admission/admission.h"

#include <chrono>
#include <numeric>
#include <string>
#include <utility>

#include "common/check.h"
#include "fmt/format.h"
#include "server/observe/errors.h"

namespace precis {
namespace {

Status CheckPlaces(const ClientUse& use, uint64_t places) {
  if (use.HasPlace(places)) return OkStatus();
  std::string message =
      fmt::format("{} requests of this client are under way, its limit", use.requests());
  if (places > 1) {
    message = fmt::format(
        "{} requests of this client are under way, this one counts as {} more; "
        "its limit is {}",
        use.requests(), places, use.limits().requests);
  }
  return ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQuota, message);
}

Status CheckCredit(const ClientUse& use) {
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
      has_place_(other.has_place_),
      use_(other.use_),
      tokens_(other.tokens_) {}

AdmissionPermit& AdmissionPermit::operator=(AdmissionPermit&& other) noexcept {
  if (this != &other) {
    Release();
    admission_ = std::exchange(other.admission_, nullptr);
    has_place_ = other.has_place_;
    use_ = other.use_;
    tokens_ = other.tokens_;
  }
  return *this;
}

void AdmissionPermit::Release() {
  Admission* const admission = std::exchange(admission_, nullptr);
  if (admission == nullptr) return;
  if (has_place_) {
    admission->Return(use_, tokens_, /*reply_is_sent=*/true);
  } else {
    admission->ReplySent();
  }
}

void AdmissionPermit::FreePlace() {
  if (admission_ == nullptr || !std::exchange(has_place_, false)) return;
  admission_->Return(use_, tokens_, /*reply_is_sent=*/false);
}

void AdmissionPermit::SetTokens(uint64_t tokens) {
  if (admission_ == nullptr || !has_place_) return;
  admission_->Change(use_, tokens_, tokens);
  tokens_ = tokens;
}

StatusOr<AdmissionPermit> Admission::TryAdmit(const Client& client, uint64_t tokens) {
  PRECIS_ASSIGN_OR_RETURN(auto permits, TryAdmitAll(client, {&tokens, 1}, {}));
  return std::move(permits.front());
}

StatusOr<std::vector<AdmissionPermit>> Admission::TryAdmitAll(const Client& client,
                                                              std::span<const uint64_t> tokens,
                                                              AdmissionPermit first) {
  const uint64_t sum = std::accumulate(tokens.begin(), tokens.end(), uint64_t{0});
  std::vector<AdmissionPermit> permits;
  permits.reserve(tokens.size());
  if (first.held()) {
    // Who was let in stays in; of what is more, places and tokens are asked for below.
    if (tokens.size() == 1) first.SetTokens(sum);
    permits.push_back(std::move(first));
    if (tokens.size() == 1) return permits;
  }
  const uint64_t places = tokens.size() - permits.size();
  MutexLock lock(mutex_);
  ClientUse* const use = uses_.Of(client, clock_->Now());
  if (use != nullptr) {
    PRECIS_RETURN_IF_ERROR(CheckPlaces(*use, places));
    if (permits.empty()) PRECIS_RETURN_IF_ERROR(CheckCredit(*use));
  }
  if (requests_ + places > limits_.max_requests) {
    return ReasonError(
        absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
        fmt::format("{} requests are under way, of {} at most", requests_, limits_.max_requests));
  }
  const bool alone = requests_ == 0 && tokens.size() == 1;
  if (!alone && tokens_ + sum > limits_.max_tokens) {
    return ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
                       fmt::format("requests of {} tokens (source and new) are under way, this one "
                                   "has about {}; the limit "
                                   "is {}",
                                   tokens_, sum, limits_.max_tokens));
  }
  requests_ += places;
  tokens_ += sum;
  if (!permits.empty()) {
    AdmissionPermit& held = permits.front();
    held.tokens_ = tokens.front();
    if (held.use_ != nullptr) held.use_->Charge(0, held.tokens_);
  }
  for (const uint64_t part : tokens.subspan(permits.size())) {
    if (use != nullptr) use->Begin(part);
    permits.push_back(AdmissionPermit(this, use, part));
  }
  return permits;
}

bool Admission::HasRoom(const ClientUse* use, const void* key, std::function<void()> wake,
                        Duration* wait) {
  *wait = use == nullptr ? Duration(0) : use->UntilCredit();
  if (wait->count() != 0) return false;
  const bool has_place = use == nullptr || use->HasPlace();
  if (has_place && requests_ < limits_.max_requests &&
      (requests_ == 0 || tokens_ < limits_.max_tokens)) {
    return true;
  }
  waiting_[key] = std::move(wake);
  return false;
}

AdmissionPermit Admission::AdmitOrWait(const Client& client, const void* key,
                                       std::function<void()> wake, Duration* wait) {
  MutexLock lock(mutex_);
  ClientUse* const use = uses_.Of(client, clock_->Now());
  if (!HasRoom(use, key, std::move(wake), wait)) return {};
  ++requests_;
  if (use != nullptr) use->Begin(0);
  return AdmissionPermit(this, use, 0);
}

bool Admission::HasRoomOrWait(const Client& client, const void* key, std::function<void()> wake,
                              Duration* wait) {
  MutexLock lock(mutex_);
  return HasRoom(uses_.Of(client, clock_->Now()), key, std::move(wake), wait);
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
  while (requests_ + replies_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) return false;
    idle_.WaitFor(mutex_, left);
  }
  return true;
}

void Admission::Return(ClientUse* use, uint64_t tokens, bool reply_is_sent) {
  std::map<const void*, std::function<void()>> woken;
  {
    MutexLock lock(mutex_);
    PRECIS_CHECK(requests_ > 0 && tokens_ >= tokens);
    --requests_;
    tokens_ -= tokens;
    if (use != nullptr) use->End();
    if (!reply_is_sent) ++replies_;
    if (requests_ + replies_ == 0) idle_.NotifyAll();
    woken.swap(waiting_);
  }
  for (auto& [key, wake] : woken) wake();
}

void Admission::ReplySent() {
  MutexLock lock(mutex_);
  PRECIS_CHECK(replies_ > 0);
  if (--replies_ + requests_ == 0) idle_.NotifyAll();
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
