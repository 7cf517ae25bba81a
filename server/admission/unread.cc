#include "server/admission/unread.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/status/status.h"
#include "common/log.h"
#include "fmt/format.h"
#include "grpc/grpc.h"

namespace precis {
namespace {

constexpr absl::StatusCode kUnread =
    absl::StatusCode::kAborted;  // its outcome: server/observe/errors.cc

}  // namespace

UnreadReplies::UnreadReplies(const UnreadLimits& limits, const CallEntry& entry,
                             ServerMetrics& metrics)
    : max_bytes_(limits.max_bytes), entry_(entry), metrics_(metrics), timeout_(limits.timeout) {
  thread_ = std::thread([this] { Loop(); });
}

UnreadReplies::~UnreadReplies() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

std::shared_ptr<UnreadReply> UnreadReplies::Open(const CallContext& call_context,
                                                 grpc::CallbackServerContext* context) {
  return std::make_shared<UnreadReply>(*this, call_context, context);
}

void UnreadReplies::Hurry(Duration timeout) {
  {
    MutexLock lock(mutex_);
    timeout_ = timeout_.count() == 0 ? timeout : std::min(timeout_, timeout);
  }
  wake_.NotifyAll();
}

uint64_t UnreadReplies::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

void UnreadReplies::Set(const std::shared_ptr<UnreadReply>& reply, uint64_t bytes) {
  if (bytes == 0) return Remove(reply.get());
  const TimePoint now = std::chrono::steady_clock::now();
  MutexLock lock(mutex_);
  auto place = places_.find(reply.get());
  if (place == places_.end()) {
    line_.push_back({.reply = reply, .bytes = 0, .since = now});
    place = places_.emplace(reply.get(), std::prev(line_.end())).first;
  }
  Waiting& call = *place->second;
  if (bytes < call.bytes) {
    call.since = now;
    line_.splice(line_.end(), line_, place->second);
  }
  bytes_ = bytes_ - call.bytes + bytes;
  call.bytes = bytes;
  // The thread sleeps until the first in line is overdue, or while there is none.
  if (line_.size() == 1 || bytes_ > max_bytes_) wake_.NotifyAll();
}

void UnreadReplies::Remove(UnreadReply* reply) {
  std::shared_ptr<UnreadReply> last;  // after the lock
  MutexLock lock(mutex_);
  const auto place = places_.find(reply);
  if (place == places_.end()) return;
  bytes_ -= place->second->bytes;
  last = std::move(place->second->reply);
  line_.erase(place->second);
  places_.erase(place);
}

bool UnreadReplies::IsOverdue(TimePoint now) const {
  if (line_.empty()) return false;
  return bytes_ > max_bytes_ || (timeout_.count() != 0 && now - line_.front().since >= timeout_);
}

void UnreadReplies::Loop() {
  while (true) {
    Waiting call;
    TimePoint now;
    {
      MutexLock lock(mutex_);
      while (true) {
        if (stop_) return;
        now = std::chrono::steady_clock::now();
        if (IsOverdue(now)) break;
        if (line_.empty() || timeout_.count() == 0) {
          wake_.Wait(mutex_);
        } else {
          wake_.WaitFor(mutex_, line_.front().since + timeout_ - now);
        }
      }
      call = std::move(line_.front());
      bytes_ -= call.bytes;
      places_.erase(call.reply.get());
      line_.pop_front();
    }
    EndCall(call, now - call.since);
  }
}

void UnreadReplies::EndCall(const Waiting& call, Duration waited) {
  const std::string why =
      fmt::format("the client did not read: {} bytes of the reply have waited for {:.1f} s",
                  call.bytes, Seconds(waited));
  if (!call.reply->End(why)) return;
  metrics_.CountUnread(call.reply->method_);
  LogEvent(spdlog::level::info, "unread",
           LogFields()
               .Word("id", call.reply->request_id_)
               .Word("method", MethodName(call.reply->method_))
               .Count("bytes", call.bytes)
               .Milliseconds("waited_ms", Seconds(waited) * 1e3));
}

void UnreadReply::Set(uint64_t bytes) {
  {
    MutexLock lock(mutex_);
    if (context_ == nullptr || !ended_.empty()) return;
  }
  all_.Set(shared_from_this(), bytes);
}

void UnreadReply::Done() {
  {
    MutexLock lock(mutex_);
    context_ = nullptr;
  }
  all_.Remove(this);
}

Status UnreadReply::WhyCancelled() const {
  MutexLock lock(mutex_);
  if (ended_.empty()) return all_.entry_.WhyCancelled(*context_);
  return Status(kUnread, absl::string_view(ended_));
}

bool UnreadReply::End(const std::string& why) {
  grpc_call* call = nullptr;
  {
    MutexLock lock(mutex_);
    if (context_ == nullptr || !ended_.empty()) return false;
    ended_ = why;
    call = context_->c_call();
    grpc_call_ref(call);
  }
  // C++ has TryCancel(), which says CANCELLED to the client. This may call the reactor from here.
  grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(kUnread), why.c_str(), nullptr);
  grpc_call_unref(call);
  return true;
}

}  // namespace precis
