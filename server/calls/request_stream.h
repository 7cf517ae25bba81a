// A bidirectional call whose messages are requests of their own: a read is started only when there
// is room in the queue, and what was read waits until it has a place there, so that a full server
// slows the client down by flow control and refuses nothing. A stream that says nothing holds no
// place. What was taken in is always answered, in whatever order it is done.
//
// Owner: itself, until gRPC says that the call is over. Thread rule: gRPC's; the mutex is for what
// derived classes add, too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "common/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/calls/core.h"
#include "server/calls/wake_alarm.h"

namespace precis {

class RequestStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                      public LiveCall,
                      public std::enable_shared_from_this<RequestStream> {
 public:
  // Authenticates the call; from here it may be over at any moment.
  void Open();

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;
  void Drain() final;
  // The requests are calls of their own to the one who aborts.
  void Abort(const Status& why) final { Close(why); }

 protected:
  struct Answer {
    grpc::ByteBuffer bytes;
    bool is_last = true;  // of its request
    // When it was written, or, with why, when the call was over before; may be empty.
    std::function<void(const Status& why_lost)> over;
  };

  RequestStream(ServerCore& core, grpc::CallbackServerContext* context, Method method)
      : core_(core), context_(context), method_(method) {}

  // Takes in the message that was read, on one thread at a time. It is answered once, at any time,
  // unless the stream is ended by EndUnanswered().
  virtual void TakeIn(const grpc::ByteBuffer& message, AdmissionPermit permit) = 0;
  // The next answer to write; nothing when there is none yet.
  virtual std::optional<Answer> NextAnswer() PRECIS_REQUIRES(mutex_) = 0;
  // Bytes of the answers that wait to be next.
  virtual uint64_t WaitingBytes() const PRECIS_REQUIRES(mutex_) = 0;
  // Ends all requests under way, which are answered then.
  virtual void AbortRequests(const Status& why) = 0;

  // There may be an answer.
  void Pump();
  // In any thread: when gRPC has ended the call, why.
  Status WhyCancelled() const { return unread_->WhyCancelled(); }
  // Within TakeIn(): the message ends the stream, for no one could be answered otherwise.
  void EndUnanswered(const Status& why);

  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  CallContext call_context_;
  Mutex mutex_;

 private:
  // Starts a read if nothing speaks against it.
  void TryRead();
  // Goes on where room or credit was missing.
  void Retry();
  // Whether what was read has a place now; if not, Retry() is called when it may have one.
  bool Admit();
  // Takes in what was read and admitted.
  void TakeInRead();
  // Reads no more; ends with `why` when all that was read is answered. The first call counts.
  void Close(const Status& why);

  const Method method_;
  // From a read's start until its message is taken in, `reading_` keeps it for that read alone.
  grpc::ByteBuffer read_;
  WakeAlarm credit_;    // when the client may have saved up for another request
  WakeAlarm admitted_;  // at once, in a thread that is deep in nothing else
  std::shared_ptr<UnreadReply> unread_;
  std::shared_ptr<RequestStream> self_ PRECIS_GUARDED_BY(mutex_);
  AdmissionPermit permit_ PRECIS_GUARDED_BY(mutex_);  // of what was read, until it is taken in
  Answer writing_answer_ PRECIS_GUARDED_BY(mutex_);
  uint32_t outstanding_ PRECIS_GUARDED_BY(mutex_) = 0;  // read and not answered
  bool reading_ PRECIS_GUARDED_BY(mutex_) = false;      // until what was read is taken in
  bool has_read_ PRECIS_GUARDED_BY(mutex_) = false;     // and it waits for its place
  bool writing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool closing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool named_ PRECIS_GUARDED_BY(mutex_) = false;  // with the initial metadata
  bool finishing_ PRECIS_GUARDED_BY(mutex_) = false;
  Status outcome_ PRECIS_GUARDED_BY(mutex_);
};

}  // namespace precis
