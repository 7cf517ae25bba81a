// How many requests may be under way: a bounded number, and a bounded number of tokens together;
// and of each client no more than its limits say. Full is an answer, not a wait; bulk streams alone
// may ask to be called when there is room.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "server/admission/client_use.h"
#include "server/config/client.h"

namespace precis {

class Admission;

// A place among the requests under way, and then, when its request has been worked off, what makes
// WaitIdle() wait for its reply. The destructor gives either back. Move-only.
class AdmissionPermit {
 public:
  AdmissionPermit() = default;
  AdmissionPermit(AdmissionPermit&& other) noexcept;
  AdmissionPermit& operator=(AdmissionPermit&& other) noexcept;
  ~AdmissionPermit() { Release(); }

  bool held() const { return admission_ != nullptr; }
  void Release();
  // The request has been worked off: its place is free for another one, its reply is to be sent.
  void FreePlace();
  // The request's tokens are known better now. Never fails: what was let in stays in.
  void SetTokens(uint64_t tokens);

 private:
  friend class Admission;
  AdmissionPermit(Admission* admission, ClientUse* use, uint64_t tokens)
      : admission_(admission), use_(use), tokens_(tokens) {}
  Admission* admission_ = nullptr;
  bool has_place_ = true;
  ClientUse* use_ = nullptr;  // null: the client's requests are not counted
  uint64_t tokens_ = 0;
};

struct AdmissionLimits {
  uint64_t max_requests = 0;
  uint64_t max_tokens = 0;
};

class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits, const Clock* clock = nullptr)
      : limits_(limits), clock_(clock == nullptr ? &steady_clock_ : clock) {}

  // RESOURCE_EXHAUSTED: with Reason::kQuota when the client is at a limit of its own, with
  // Reason::kQueueFull when there is no place. A request larger than max_tokens gets in when it is
  // alone: otherwise it never would.
  StatusOr<AdmissionPermit> TryAdmit(const Client& client, uint64_t tokens);
  // The parts of one request, each with its tokens, as one: all get in, or none does and nothing is
  // charged. `first`, where held, is the place of the first part, had by AdmitOrWait().
  StatusOr<std::vector<AdmissionPermit>> TryAdmitAll(const Client& client,
                                                     std::span<const uint64_t> tokens,
                                                     AdmissionPermit first);

  // A permit of no tokens yet. When there is none, `wake` is called once, from another thread, as
  // soon as there may be one; ask again then. `key` names the waiter: each waits for one. Where
  // only time helps, because the client has used up its rate, `*wait` says how long, and no one
  // calls.
  AdmissionPermit AdmitOrWait(const Client& client, const void* key, std::function<void()> wake,
                              Duration* wait);
  // The same question without taking a place: whether there is room for one more. False: `wake` and
  // `*wait` as above.
  bool HasRoomOrWait(const Client& client, const void* key, std::function<void()> wake,
                     Duration* wait);
  // After this `wake` is not called any more, or is running now.
  void Forget(const void* key);

  uint64_t requests() const;
  uint64_t tokens() const;
  // Clients with a name, or with limits, that have requests under way.
  std::vector<ClientCount> ClientsUnderWay() const;
  // False when requests were under way, or replies of theirs not sent, still after `timeout`.
  bool WaitIdle(std::chrono::nanoseconds timeout);

 private:
  friend class AdmissionPermit;
  // Of a client that AdmitOrWait() or HasRoomOrWait() asks for.
  bool HasRoom(const ClientUse* use, const void* key, std::function<void()> wake, Duration* wait)
      PRECIS_REQUIRES(mutex_);
  void Return(ClientUse* use, uint64_t tokens, bool reply_is_sent);
  void ReplySent();
  void Change(ClientUse* use, uint64_t from, uint64_t to);

  const AdmissionLimits limits_;
  const SteadyClock steady_clock_;
  const Clock* const clock_;
  mutable Mutex mutex_;
  CondVar idle_;
  uint64_t requests_ PRECIS_GUARDED_BY(mutex_) = 0;
  uint64_t tokens_ PRECIS_GUARDED_BY(mutex_) = 0;
  uint64_t replies_ PRECIS_GUARDED_BY(mutex_) = 0;  // worked off and not sent
  ClientUses uses_ PRECIS_GUARDED_BY(mutex_);
  std::map<const void*, std::function<void()>> waiting_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
