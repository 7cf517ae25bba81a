// Replies that are made and that their clients have not taken yet. All of them together are bounded
// by bytes, and each by the time since its client last took something. Beyond a bound a call is
// ended (ABORTED, outcome "unread"): for too many bytes the calls that have waited longest go
// first, so that a client that does not read costs no client that does.
//
// Owner: the server; outlives every call. Thread rule: any thread; calls are ended in a thread of
// its own, outside every lock.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/status.h"
#include "grpcpp/server_context.h"
#include "server/observe/metrics.h"
#include "server/security/call_context.h"

namespace precis {

class UnreadReply;

struct UnreadLimits {
  uint64_t max_bytes = 0;
  Duration timeout{0};  // without anything taken; 0: any
};

class UnreadReplies {
 public:
  UnreadReplies(const UnreadLimits& limits, const CallEntry& entry, ServerMetrics& metrics);
  ~UnreadReplies();

  // Of one call, from its beginning until gRPC says that it is over. The call shares it with this
  // list, which may be about to end the call when gRPC does.
  std::shared_ptr<UnreadReply> Open(const CallContext& call_context,
                                    grpc::CallbackServerContext* context);
  // From now on no call waits longer than `timeout` either.
  void Hurry(Duration timeout);
  uint64_t bytes() const;

 private:
  friend class UnreadReply;
  struct Waiting {
    std::shared_ptr<UnreadReply> reply;
    uint64_t bytes = 0;
    TimePoint since;  // when its client last took something, or these began to wait
  };

  void Set(const std::shared_ptr<UnreadReply>& reply, uint64_t bytes);
  void Remove(UnreadReply* reply);
  void Loop();
  // Of the first in line; a time that has passed: now.
  bool IsOverdue(TimePoint now) const PRECIS_REQUIRES(mutex_);
  void EndCall(const Waiting& call, Duration waited);

  const uint64_t max_bytes_;
  const CallEntry& entry_;
  ServerMetrics& metrics_;
  mutable Mutex mutex_;
  CondVar wake_;
  Duration timeout_ PRECIS_GUARDED_BY(mutex_);
  std::list<Waiting> line_ PRECIS_GUARDED_BY(mutex_);  // who has waited longest first
  std::unordered_map<UnreadReply*, std::list<Waiting>::iterator> places_ PRECIS_GUARDED_BY(mutex_);
  uint64_t bytes_ PRECIS_GUARDED_BY(mutex_) = 0;  // of all in line
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// What one call has made and its client has not taken.
class UnreadReply : public std::enable_shared_from_this<UnreadReply> {
 public:
  UnreadReply(UnreadReplies& all, const CallContext& call_context,
              grpc::CallbackServerContext* context)
      : all_(all),
        method_(call_context.method),
        request_id_(call_context.request_id),
        context_(context) {}

  // So many wait now. Fewer than before: the client has taken some. Call it in order, under the
  // lock of what is counted.
  void Set(uint64_t bytes);
  // In OnDone: the context goes.
  void Done();
  // Why gRPC says that the call was cancelled; before Done().
  Status WhyCancelled() const;

 private:
  friend class UnreadReplies;
  // False when the call was over. `why` is for its client.
  bool End(const std::string& why);

  UnreadReplies& all_;
  const Method method_;
  const std::string request_id_;
  mutable Mutex mutex_;
  grpc::CallbackServerContext* context_ PRECIS_GUARDED_BY(mutex_);  // null: the call is over
  std::string ended_ PRECIS_GUARDED_BY(mutex_);                     // why we did; empty: no
};

}  // namespace precis
