#include "server/rpc/call_stream.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "common/mutex.h"
#include "server/calls/task.h"
#include "server/net/wire.h"
#include "server/rpc/call.h"
#include "server/rpc/reply.h"

namespace precis {
namespace {

using Event = v1::StreamSummarizeResponse;

class StreamReply final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public ReplySink {
 public:
  StreamReply(ServerCore& core, grpc::CallbackServerContext* context)
      : core_(core), context_(context) {}

  static void Run(std::shared_ptr<StreamReply> reply, OpenedCall call) {
    reply->unread_ = reply->core_.unread.Open(call.context, reply->context_);
    reply->task_ = std::make_shared<SummaryTask>(reply->core_, std::move(call.context),
                                                 std::move(call.permit));
    reply->self_ = reply;
    reply->task_->Run(*std::move(call.request), reply);
  }
  static void Refuse(std::shared_ptr<StreamReply> reply, const Status& why) {
    reply->self_ = reply;
    reply->Finish(ToGrpcStatus(why, reply->context_));
  }

  void Accepted(uint32_t source_tokens) override {
    Event event;
    event.mutable_accepted()->set_request_id(task_->call_context().request_id);
    event.mutable_accepted()->set_source_tokens(source_tokens);
    Push(std::move(event));
  }
  void Started() override { PushProgress(v1::PROGRESS_STAGE_ENCODING); }
  void Searched(uint32_t generated_tokens) override;
  void Windows(uint32_t done, uint32_t total) override {
    {
      MutexLock lock(mutex_);
      windows_done_ = done;
      windows_total_ = total;
    }
    if (done > 0) PushProgress(v1::PROGRESS_STAGE_ENCODING);
  }
  void Delta(uint32_t index, const std::string& text) override;
  void Finished(const StatusOr<Summary>& result) override;

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      in_flight_.Clear();
      if (!ok) {
        // The call is over: OnCancel ends the task.
        lost_ = true;
        Drop();
      }
      Count();
    }
    Pump();
  }
  void OnCancel() override {
    if (task_) task_->Abort(unread_->WhyCancelled());
  }
  void OnDone() override {
    if (task_) {
      task_->ReplyLost(unread_->WhyCancelled());  // unless it was sent
      unread_->Done();
    }
    std::shared_ptr<StreamReply> last;  // after the lock
    MutexLock lock(mutex_);
    last = std::move(self_);
  }

 private:
  void Push(Event event) {
    {
      MutexLock lock(mutex_);
      if (ended_ || lost_) return;
      Keep(std::move(event));
    }
    Pump();
  }
  void Keep(Event event) PRECIS_REQUIRES(mutex_) {
    waiting_bytes_ += event.ByteSizeLong();
    waiting_.push_back(std::move(event));
    Count();
  }
  void Drop() PRECIS_REQUIRES(mutex_) {
    waiting_.clear();
    waiting_bytes_ = 0;
  }
  void Count() PRECIS_REQUIRES(mutex_) {
    unread_->Set(waiting_bytes_ + (writing_ ? in_flight_.Length() : 0));
  }
  void PushProgress(v1::ProgressStage stage) {
    Event event;
    event.mutable_progress()->set_stage(stage);
    {
      MutexLock lock(mutex_);
      event.mutable_progress()->set_windows_done(windows_done_);
      event.mutable_progress()->set_windows_total(windows_total_);
      event.mutable_progress()->set_generated_tokens(generated_tokens_);
    }
    Push(std::move(event));
  }
  // Writes the next event, or ends the call after the last; one write is in flight at a time.
  void Pump();

  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<SummaryTask> task_;    // null when the call was refused
  std::shared_ptr<UnreadReply> unread_;  // likewise
  std::shared_ptr<StreamReply> self_;  // shared with the task, which may speak after gRPC has left
  Mutex mutex_;
  grpc::ByteBuffer in_flight_ PRECIS_GUARDED_BY(mutex_);  // while `writing_`, gRPC's as well
  std::deque<Event> waiting_ PRECIS_GUARDED_BY(mutex_);
  uint64_t waiting_bytes_ PRECIS_GUARDED_BY(mutex_) = 0;
  bool decoding_ PRECIS_GUARDED_BY(mutex_) = false;          // progress has said so
  uint32_t generated_tokens_ PRECIS_GUARDED_BY(mutex_) = 0;  // of a beam search
  uint32_t windows_done_ PRECIS_GUARDED_BY(mutex_) = 0;
  uint32_t windows_total_ PRECIS_GUARDED_BY(mutex_) = 1;
  bool writing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool named_ PRECIS_GUARDED_BY(mutex_) = false;  // with the first write, or the end
  bool ended_ PRECIS_GUARDED_BY(mutex_) = false;
  bool lost_ PRECIS_GUARDED_BY(mutex_) = false;  // the call was over before all was written
  bool finishing_ PRECIS_GUARDED_BY(mutex_) = false;
  Status outcome_ PRECIS_GUARDED_BY(mutex_);
};

void StreamReply::Searched(uint32_t generated_tokens) {
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    generated_tokens_ = generated_tokens;
    // A slow reader receives the last one only.
    if (!waiting_.empty() && waiting_.back().has_progress() &&
        waiting_.back().progress().stage() == v1::PROGRESS_STAGE_DECODING) {
      waiting_.back().mutable_progress()->set_generated_tokens(generated_tokens);
      return;
    }
  }
  PushProgress(v1::PROGRESS_STAGE_DECODING);
}

void StreamReply::Delta(uint32_t index, const std::string& text) {
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    first = !std::exchange(decoding_, true);
    // A slow reader gets fewer and larger deltas, of each sequence.
    for (auto it = waiting_.rbegin(); it != waiting_.rend() && it->has_delta(); ++it) {
      if (it->delta().sequence_index() != index) continue;
      it->mutable_delta()->mutable_text()->append(text);
      waiting_bytes_ += text.size();
      Count();
      return;
    }
  }
  if (first) PushProgress(v1::PROGRESS_STAGE_DECODING);
  Event event;
  event.mutable_delta()->set_sequence_index(index);
  event.mutable_delta()->set_text(text);
  Push(std::move(event));
}

void StreamReply::Finished(const StatusOr<Summary>& result) {
  {
    MutexLock lock(mutex_);
    ended_ = true;
    outcome_ = result.status();
    if (!result.ok()) {
      Drop();  // the text is incomplete in any case
      Count();
    } else if (!lost_) {
      Event event;
      *event.mutable_finished()->mutable_summary() =
          ToSummary(*result, core_.summarizer.info(), task_->call_context().request_id);
      Keep(std::move(event));
    }
  }
  Pump();
}

void StreamReply::Pump() {
  Status outcome;
  bool lost = false;
  {
    MutexLock lock(mutex_);
    if (writing_ || finishing_) return;
    if (!waiting_.empty()) {
      SerializeMessage(waiting_.front(), &in_flight_);
      waiting_bytes_ -= std::min<uint64_t>(waiting_bytes_, in_flight_.Length());
      waiting_.pop_front();
      if (waiting_.empty()) waiting_bytes_ = 0;  // joined deltas have longer lengths
      writing_ = true;
      Count();
      if (!std::exchange(named_, true)) {
        AddCallMetadata(task_->call_context(), OkStatus(), context_);
      }
      StartWrite(&in_flight_);
      return;
    }
    if (!ended_) return;
    finishing_ = true;
    outcome = outcome_;
    lost = lost_;
    if (!std::exchange(named_, true)) AddCallMetadata(task_->call_context(), outcome, context_);
  }
  if (!lost) task_->ReplySent();
  Finish(ToGrpcStatus(outcome, context_));
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* OpenStream(ServerCore& core,
                                                       grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer& request) {
  OpenedCall call;
  const Status status =
      OpenCall<v1::StreamSummarizeRequest>(core, context, Method::kStreamSummarize, request, &call);
  auto reply = std::make_shared<StreamReply>(core, context);
  StreamReply* reactor = reply.get();
  // From here the call may be over at any moment: only the pointer's value is used below.
  if (status.ok()) {
    StreamReply::Run(std::move(reply), std::move(call));
  } else {
    StreamReply::Refuse(std::move(reply), status);
  }
  return reactor;
}

}  // namespace precis
