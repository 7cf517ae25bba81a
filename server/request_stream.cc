#include "server/request_stream.h"

#include <utility>

#include "server/errors.h"

namespace precis {

void RequestStream::Open() {
  {
    MutexLock lock(mutex_);
    self_ = shared_from_this();
  }
  const Status status = core_.gate.Enter(context_, method_, &ticket_);
  if (!status.ok()) {
    RecordOutcome(core_, ticket_, status, nullptr);
    Close(status);
    return;
  }
  core_.live.Add(shared_from_this());
  // Between the gate and the list of calls the server may have begun to drain.
  if (core_.gate.closed()) Drain();
  {
    MutexLock lock(mutex_);
    if (!finishing_) {
      named_ = true;
      NameCall(ticket_, OkStatus(), context_);
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
  if (!permit_.held()) {
    const auto again = [weak = weak_from_this()] {
      if (auto stream = weak.lock()) stream->TryRead();
    };
    Duration wait{0};
    permit_ = core_.admission.AdmitOrWait(ticket_.client, this, again, &wait);
    if (!permit_.held()) {
      if (wait.count() != 0) alarm_.Set(wait, weak_from_this(), &RequestStream::TryRead);
      return;
    }
  }
  reading_ = true;
  StartRead(&read_);
}

void RequestStream::OnReadDone(bool ok) {
  if (!ok) {
    Close(OkStatus());  // the client has said all
    return;
  }
  AdmissionPermit permit;
  if (BeginRequest(&permit)) TakeIn(read_, std::move(permit));
  {
    // Not before: a read begun by another thread would write over the message that is taken in.
    MutexLock lock(mutex_);
    reading_ = false;
  }
  TryRead();
}

bool RequestStream::BeginRequest(AdmissionPermit* permit) {
  MutexLock lock(mutex_);
  if (closing_) return false;
  ++outstanding_;  // the stream can't end before it is answered
  *permit = std::move(permit_);
  return true;
}

void RequestStream::EndUnanswered(const Status& why) {
  {
    MutexLock lock(mutex_);
    --outstanding_;
  }
  Close(why);
}

void RequestStream::OnWriteDone(bool /*ok*/) {
  std::function<void()> sent;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (writing_answer_.is_last) --outstanding_;
    sent = std::move(writing_answer_.sent);
    writing_answer_ = {};
  }
  if (sent) sent();
  Pump();
  TryRead();
}

void RequestStream::Pump() {
  Status outcome;
  {
    MutexLock lock(mutex_);
    if (writing_ || finishing_) return;
    if (std::optional<Answer> next = NextAnswer()) {
      writing_answer_ = *std::move(next);
      writing_ = true;
      StartWrite(&writing_answer_.bytes);
      return;
    }
    if (!closing_ || outstanding_ > 0) return;
    finishing_ = true;
    outcome = outcome_;
    if (!named_) NameCall(ticket_, outcome, context_);
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
  const Status why = WhyCancelled(*context_);
  Close(why);
  AbortRequests(why);
}

void RequestStream::OnDone() {
  core_.live.Remove(this);
  std::shared_ptr<RequestStream> last;  // after the lock
  MutexLock lock(mutex_);
  last = std::move(self_);
}

}  // namespace precis
