#include "server/calls/request_stream.h"

#include <utility>

#include "server/observe/errors.h"

namespace precis {

void RequestStream::Open() {
  {
    MutexLock lock(mutex_);
    self_ = shared_from_this();
  }
  const Status status = core_.entry.Authenticate(context_, method_, &call_context_);
  unread_ = core_.unread.Open(call_context_, context_);
  if (!status.ok()) {
    RecordOutcome(core_, call_context_, status, nullptr);
    Close(status);
    return;
  }
  core_.live.Add(shared_from_this());
  // Between authentication and the list of calls the server may have begun to drain.
  if (core_.entry.closed()) Drain();
  {
    MutexLock lock(mutex_);
    if (!finishing_) {
      named_ = true;
      AddCallMetadata(call_context_, OkStatus(), context_);
      StartSendInitialMetadata();
    }
  }
  TryRead();
}

void RequestStream::Drain() {
  Close(ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining,
                    "the server is about to end and reads no more requests"));
}

void RequestStream::TryRead() {
  MutexLock lock(mutex_);
  if (reading_ || closing_ || outstanding_ >= core_.options.stream_outstanding) return;
  Duration wait{0};
  const auto again = [weak = weak_from_this()] {
    if (auto stream = weak.lock()) stream->Retry();
  };
  if (!core_.admission.HasRoomOrWait(call_context_.client, this, again, &wait)) {
    if (wait.count() != 0) credit_.Set(wait, weak_from_this(), &RequestStream::Retry);
    return;
  }
  reading_ = true;
  StartRead(&read_);
}

void RequestStream::OnReadDone(bool ok) {
  if (!ok) {
    Close(OkStatus());  // the client has said all
    return;
  }
  {
    MutexLock lock(mutex_);
    has_read_ = true;
  }
  if (Admit()) TakeInRead();
}

void RequestStream::Retry() {
  // Called where a place was given back, which may be within TakeIn() of another stream: what is
  // taken in by each of them must not be on top of the other.
  if (Admit()) {
    admitted_.Set(Duration(0), weak_from_this(), &RequestStream::TakeInRead);
  } else {
    TryRead();
  }
}

bool RequestStream::Admit() {
  MutexLock lock(mutex_);
  if (!has_read_ || closing_ || permit_.held()) return false;
  Duration wait{0};
  const auto again = [weak = weak_from_this()] {
    if (auto stream = weak.lock()) stream->Retry();
  };
  permit_ = core_.admission.AdmitOrWait(call_context_.client, this, again, &wait);
  if (wait.count() != 0) credit_.Set(wait, weak_from_this(), &RequestStream::Retry);
  return permit_.held();
}

void RequestStream::TakeInRead() {
  AdmissionPermit permit;
  {
    MutexLock lock(mutex_);
    if (closing_ || !permit_.held()) return;  // nothing of it was accepted
    has_read_ = false;
    ++outstanding_;  // the stream can't end before it is answered
    permit = std::move(permit_);
  }
  TakeIn(read_, std::move(permit));
  {
    // Not before: a read begun by another thread would write over the message that is taken in.
    MutexLock lock(mutex_);
    reading_ = false;
  }
  TryRead();
}

void RequestStream::EndUnanswered(const Status& why) {
  {
    MutexLock lock(mutex_);
    --outstanding_;
  }
  Close(why);
}

void RequestStream::OnWriteDone(bool ok) {
  std::function<void(const Status&)> over;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (writing_answer_.is_last) --outstanding_;
    over = std::move(writing_answer_.over);
    writing_answer_ = {};
    unread_->Set(WaitingBytes());
  }
  if (over) over(ok ? OkStatus() : WhyCancelled());
  Pump();
  TryRead();
}

void RequestStream::Pump() {
  Status outcome;
  {
    MutexLock lock(mutex_);
    if (finishing_) return;
    if (!writing_) {
      if (std::optional<Answer> next = NextAnswer()) {
        writing_answer_ = *std::move(next);
        writing_ = true;
        StartWrite(&writing_answer_.bytes);
      }
    }
    if (writing_) {
      unread_->Set(WaitingBytes() + writing_answer_.bytes.Length());
      return;
    }
    if (!closing_ || outstanding_ > 0) return;
    finishing_ = true;
    outcome = outcome_;
    if (!named_) AddCallMetadata(call_context_, outcome, context_);
  }
  Finish(ToGrpcStatus(outcome, context_));
}

void RequestStream::Close(const Status& why) {
  AdmissionPermit permit;  // given back outside the lock
  {
    MutexLock lock(mutex_);
    if (!closing_) {
      closing_ = true;
      outcome_ = why;
    }
    permit = std::move(permit_);
  }
  permit.Release();
  core_.admission.Forget(this);
  Pump();
}

void RequestStream::OnCancel() {
  const Status why = WhyCancelled();
  Close(why);
  AbortRequests(why);
}

void RequestStream::OnDone() {
  core_.live.Remove(this);
  unread_->Done();
  std::shared_ptr<RequestStream> last;  // after the lock
  MutexLock lock(mutex_);
  last = std::move(self_);
}

}  // namespace precis
