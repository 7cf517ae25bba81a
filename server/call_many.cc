#include "server/call_many.h"

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "fmt/format.h"
#include "server/call.h"
#include "server/errors.h"
#include "server/reply.h"
#include "server/task.h"
#include "server/wake_alarm.h"
#include "server/wire.h"

namespace precis {
namespace {

constexpr size_t kMaxIdBytes = 128;
// Ids are remembered to be told apart; a longer job opens another stream.
constexpr size_t kMaxItems = 1u << 20;

class ManyReply;

// One document of the stream.
class ManyItem final : public ReplySink {
 public:
  ManyItem(std::shared_ptr<ManyReply> stream, std::string id)
      : stream_(std::move(stream)), id_(std::move(id)) {}
  void Finished(const StatusOr<Summary>& result) override;

 private:
  const std::shared_ptr<ManyReply> stream_;  // shared: an item may end after gRPC has left
  const std::string id_;
};

class ManyReply final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                        public LiveCall,
                        public std::enable_shared_from_this<ManyReply> {
 public:
  ManyReply(ServerCore& core, grpc::CallbackServerContext* context)
      : core_(core), context_(context) {}

  void Open();
  void ItemFinished(const std::string& id, const StatusOr<Summary>& result);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Drain() override {
    Close(ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining,
                      "the server is about to end and reads no more requests"));
  }
  // The items are calls of their own to the one who aborts.
  void Abort(const Status& why) override { Close(why); }

 private:
  struct Result {
    v1::SummarizeManyResponse message;
    std::shared_ptr<SummaryTask> task;  // null when it was refused
  };

  // Starts a read if nothing speaks against it.
  void TryRead();
  // Reads no more; ends with `why` when all accepted items are answered. The first call counts.
  void Close(const Status& why);
  void ReadItem();
  // The status ends the stream: without a usable id there is nobody to tell.
  Status CheckId(const std::string& id);
  void Push(Result result);
  void Pump();

  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  Ticket ticket_;
  // From a read's start until its message is taken in, `reading_` keeps the two for that read
  // alone.
  grpc::ByteBuffer read_;
  std::unordered_set<std::string> ids_;
  grpc::ByteBuffer in_flight_;
  Mutex mutex_;
  std::shared_ptr<ManyReply> self_ PRECIS_GUARDED_BY(mutex_);
  AdmissionPermit permit_ PRECIS_GUARDED_BY(mutex_);  // for the read under way
  std::unordered_map<std::string, std::shared_ptr<SummaryTask>> running_ PRECIS_GUARDED_BY(mutex_);
  std::deque<Result> results_ PRECIS_GUARDED_BY(mutex_);
  std::shared_ptr<SummaryTask> writing_task_ PRECIS_GUARDED_BY(mutex_);
  uint32_t outstanding_ PRECIS_GUARDED_BY(mutex_) = 0;  // read and not written
  WakeAlarm alarm_;  // when the client may have saved up for another document
  bool reading_ PRECIS_GUARDED_BY(mutex_) = false;  // until what was read is taken in
  bool writing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool closing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool finishing_ PRECIS_GUARDED_BY(mutex_) = false;
  Status outcome_ PRECIS_GUARDED_BY(mutex_);
};

void ManyItem::Finished(const StatusOr<Summary>& result) { stream_->ItemFinished(id_, result); }

void ManyReply::Open() {
  {
    MutexLock lock(mutex_);
    self_ = shared_from_this();
  }
  const Status status = core_.gate.Enter(context_, Method::kSummarizeMany, &ticket_);
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
    if (!finishing_) StartSendInitialMetadata();
  }
  TryRead();
}

void ManyReply::TryRead() {
  MutexLock lock(mutex_);
  if (reading_ || closing_ || outstanding_ >= core_.options.stream_outstanding) return;
  if (!permit_.held()) {
    const auto again = [weak = weak_from_this()] {
      if (auto stream = weak.lock()) stream->TryRead();
    };
    Duration wait{0};
    permit_ = core_.admission.AdmitOrWait(ticket_.client, this, again, &wait);
    if (!permit_.held()) {
      if (wait.count() != 0) alarm_.Set(wait, weak_from_this(), &ManyReply::TryRead);
      return;
    }
  }
  reading_ = true;
  StartRead(&read_);
}

void ManyReply::OnReadDone(bool ok) {
  if (!ok) {
    Close(OkStatus());  // the client has said all
    return;
  }
  ReadItem();
  {
    // Not before: a read begun by another thread would write over the message that is taken in.
    MutexLock lock(mutex_);
    reading_ = false;
  }
  TryRead();
}

Status ManyReply::CheckId(const std::string& id) {
  if (id.empty() || id.size() > kMaxIdBytes) {
    return FieldError("id", fmt::format("has {} bytes; 1 to {} are taken", id.size(), kMaxIdBytes));
  }
  if (ids_.size() >= kMaxItems) {
    return Status(absl::StatusCode::kResourceExhausted,
                  absl::string_view("a stream takes 1048576 documents; open another one"));
  }
  if (!ids_.insert(id).second) return FieldError("id", "was used before in this stream");
  return OkStatus();
}

void ManyReply::ReadItem() {
  {
    MutexLock lock(mutex_);
    if (closing_) return;  // what was read was never accepted
  }
  v1::SummarizeManyRequest message;
  Status status = ParseMessage(read_, &message);
  const std::string id = status.ok() ? message.id() : SalvageString(read_, 6);
  if (const Status usable = CheckId(id); !usable.ok()) {
    Close(usable);
    return;
  }
  OpenedCall call;
  call.ticket = core_.gate.ItemTicket(*context_, ticket_, ids_.size());
  if (status.ok()) {
    auto request = ToRequest(ViewOf(message), core_.summarizer.engine(), core_.options);
    status = request.status();
    if (request.ok()) call.request = *std::move(request);
    BindToClient(ticket_.client, &call.request);
  }
  if (!status.ok()) {
    RecordOutcome(core_, call.ticket, status, nullptr);
    Result result;
    result.message.set_id(id);
    *result.message.mutable_error() = ToRpcStatus(status);
    {
      MutexLock lock(mutex_);
      ++outstanding_;
    }
    Push(std::move(result));
    return;
  }
  {
    MutexLock lock(mutex_);
    if (closing_) return;  // its permit is gone
    call.permit = std::move(permit_);
    ++outstanding_;  // accepted: the stream can't end before it is answered
  }
  call.permit.SetTokens(EstimateCost(call.request, core_.summarizer.engine()));
  auto task = std::make_shared<SummaryTask>(core_, std::move(call.ticket), std::move(call.permit));
  {
    MutexLock lock(mutex_);
    running_.emplace(id, task);
  }
  task->Run(std::move(call.request), std::make_shared<ManyItem>(shared_from_this(), id));
  // A client that left before the task was listed.
  if (context_->IsCancelled()) task->Abort(WhyCancelled(*context_));
}

void ManyReply::ItemFinished(const std::string& id, const StatusOr<Summary>& result) {
  Result out;
  out.message.set_id(id);
  {
    MutexLock lock(mutex_);
    const auto it = running_.find(id);
    out.task = std::move(it->second);
    running_.erase(it);
  }
  if (result.ok()) {
    *out.message.mutable_summary() =
        ToSummary(*result, core_.summarizer.info(), out.task->ticket().request_id);
  } else {
    *out.message.mutable_error() = ToRpcStatus(result.status());
  }
  Push(std::move(out));
}

void ManyReply::Push(Result result) {
  {
    MutexLock lock(mutex_);
    results_.push_back(std::move(result));
  }
  Pump();
}

void ManyReply::OnWriteDone(bool /*ok*/) {
  std::shared_ptr<SummaryTask> sent;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    --outstanding_;
    sent = std::move(writing_task_);
  }
  if (sent) sent->ReplySent();
  Pump();
  TryRead();
}

void ManyReply::Pump() {
  Status outcome;
  {
    MutexLock lock(mutex_);
    if (writing_ || finishing_) return;
    if (!results_.empty()) {
      SerializeMessage(results_.front().message, &in_flight_);
      writing_task_ = std::move(results_.front().task);
      results_.pop_front();
      writing_ = true;
      StartWrite(&in_flight_);
      return;
    }
    if (!closing_ || outstanding_ > 0) return;
    finishing_ = true;
    outcome = outcome_;
  }
  Finish(ToGrpcStatus(outcome, context_));
}

void ManyReply::Close(const Status& why) {
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

void ManyReply::OnCancel() {
  const Status why = WhyCancelled(*context_);
  Close(why);
  std::vector<std::shared_ptr<SummaryTask>> tasks;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, task] : running_) tasks.push_back(task);
  }
  for (const auto& task : tasks) task->Abort(why);
}

void ManyReply::OnDone() {
  core_.live.Remove(this);
  std::shared_ptr<ManyReply> last;  // after the lock
  MutexLock lock(mutex_);
  last = std::move(self_);
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenMany(
    ServerCore& core, grpc::CallbackServerContext* context) {
  auto reply = std::make_shared<ManyReply>(core, context);
  ManyReply* reactor = reply.get();
  // From here the call may be over at any moment: only the pointer's value is used below.
  reply->Open();
  return reactor;
}

}  // namespace precis
