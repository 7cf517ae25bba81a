// How many requests may be under way: a bounded number, and a bounded number of source tokens
// together. Full is an answer, not a wait; bulk streams alone may ask to be told when there is
// room.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "common/mutex.h"
#include "common/status.h"

namespace precis {

class Admission;

// A place among the requests under way; the destructor gives it back. Move-only.
class AdmissionPermit {
 public:
  AdmissionPermit() = default;
  AdmissionPermit(AdmissionPermit&& other) noexcept;
  AdmissionPermit& operator=(AdmissionPermit&& other) noexcept;
  ~AdmissionPermit() { Release(); }

  bool held() const { return admission_ != nullptr; }
  void Release();
  // The request's tokens are known better now. Never fails: what was let in stays in.
  void SetTokens(uint64_t tokens);

 private:
  friend class Admission;
  AdmissionPermit(Admission* admission, uint64_t tokens) : admission_(admission), tokens_(tokens) {}
  Admission* admission_ = nullptr;
  uint64_t tokens_ = 0;
};

struct AdmissionLimits {
  uint64_t max_requests = 0;
  uint64_t max_tokens = 0;
};

class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits) : limits_(limits) {}

  // RESOURCE_EXHAUSTED with Reason::kQueueFull when there is no place. A request larger than
  // max_tokens gets in when it is alone: otherwise it never would.
  StatusOr<AdmissionPermit> TryAdmit(uint64_t tokens);

  // A permit of no tokens yet. When there is none, `wake` is called once, from another thread, as
  // soon as there may be one; ask again then. `key` names the waiter: one wish each.
  AdmissionPermit AdmitOrWait(const void* key, std::function<void()> wake);
  // After this `wake` is not called any more, or is running now.
  void Forget(const void* key);

  uint64_t requests() const;
  uint64_t tokens() const;
  // False when requests were still under way after `timeout`.
  bool WaitIdle(std::chrono::nanoseconds timeout);

 private:
  friend class AdmissionPermit;
  void Return(uint64_t tokens);
  void Change(uint64_t from, uint64_t to);

  const AdmissionLimits limits_;
  mutable Mutex mutex_;
  CondVar idle_;
  uint64_t requests_ PRECIS_GUARDED_BY(mutex_) = 0;
  uint64_t tokens_ PRECIS_GUARDED_BY(mutex_) = 0;
  std::map<const void*, std::function<void()>> waiting_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
