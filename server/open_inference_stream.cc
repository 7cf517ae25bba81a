#include "server/open_inference_stream.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "server/errors.h"
#include "server/open_inference_reply.h"
#include "server/open_inference_request.h"
#include "server/open_inference_tasks.h"
#include "server/wake_alarm.h"
#include "server/wire.h"

namespace precis {
namespace {

using inference::ModelStreamInferResponse;

class InferStream;

// One request of the stream.
class StreamItem final : public InferSink, public std::enable_shared_from_this<StreamItem> {
 public:
  StreamItem(std::shared_ptr<InferStream> stream, std::shared_ptr<InferTasks> tasks)
      : stream_(std::move(stream)), tasks_(std::move(tasks)) {}
  void Delta(const std::string& text) override;
  void Finished(const StatusOr<std::vector<Summary>>& result) override;
  const std::shared_ptr<InferTasks>& tasks() const { return tasks_; }
  const InferRequest& request() const { return tasks_->request(); }

 private:
  const std::shared_ptr<InferStream> stream_;  // shared: an item may end after gRPC has left
  const std::shared_ptr<InferTasks> tasks_;
  size_t sent_ = 0;  // bytes of its text that went out as pieces; of the text thread
};

class InferStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public LiveCall,
                          public std::enable_shared_from_this<InferStream> {
 public:
  InferStream(ServerCore& core, grpc::CallbackServerContext* context)
      : core_(core), context_(context) {}

  void Open();
  const ModelInfo& model() const { return core_.summarizer.info(); }

  // A piece of an item's text; joined to the one before while that has not been written.
  void PushPiece(const std::shared_ptr<StreamItem>& item, const std::string& text);
  // The item's last answer, or the last two.
  void PushEnd(const std::shared_ptr<StreamItem>& item, std::vector<ModelStreamInferResponse> end);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Drain() override {
    Close(ReasonError(absl::StatusCode::kUnavailable, Reason::kDraining,
                      "the server is about to end and reads no more requests"));
  }
  // The items' texts are calls of their own to the one who aborts.
  void Abort(const Status& why) override { Close(why); }

 private:
  struct Answer {
    std::shared_ptr<StreamItem> item;  // null when it was refused
    bool piece = false;
    std::string text;                  // of a piece
    ModelStreamInferResponse message;  // of the others
    bool last = false;                 // the item is answered with it
  };

  // Starts a read if nothing speaks against it.
  void TryRead();
  // Reads no more; ends with `why` when all that was read is answered. The first call counts.
  void Close(const Status& why);
  void ReadItem();
  StatusOr<std::shared_ptr<InferTasks>> Accept(const inference::ModelInferRequest& message,
                                               const Ticket& ticket, AdmissionPermit permit);
  void Refuse(const Ticket& ticket, const std::string& id, const Status& why);
  void Push(Answer answer);
  void Pump();

  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  Ticket ticket_;
  // From a read's start until its message is taken in, `reading_` keeps the two for that read
  // alone.
  grpc::ByteBuffer read_;
  size_t items_ = 0;
  grpc::ByteBuffer in_flight_;
  Mutex mutex_;
  std::shared_ptr<InferStream> self_ PRECIS_GUARDED_BY(mutex_);
  AdmissionPermit permit_ PRECIS_GUARDED_BY(mutex_);  // for the read under way
  WakeAlarm alarm_;  // when the client may have saved up for another request
  std::set<std::shared_ptr<StreamItem>> running_ PRECIS_GUARDED_BY(mutex_);
  std::deque<Answer> answers_ PRECIS_GUARDED_BY(mutex_);
  std::shared_ptr<StreamItem> writing_item_ PRECIS_GUARDED_BY(mutex_);
  uint32_t outstanding_ PRECIS_GUARDED_BY(mutex_) = 0;  // read and not answered
  bool reading_ PRECIS_GUARDED_BY(mutex_) = false;      // until what was read is taken in
  bool writing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool writing_last_ PRECIS_GUARDED_BY(mutex_) = false;
  bool closing_ PRECIS_GUARDED_BY(mutex_) = false;
  bool finishing_ PRECIS_GUARDED_BY(mutex_) = false;
  Status outcome_ PRECIS_GUARDED_BY(mutex_);
};

void StreamItem::Delta(const std::string& text) {
  if (!request().stream) return;
  sent_ += text.size();
  stream_->PushPiece(shared_from_this(), text);
}

void StreamItem::Finished(const StatusOr<std::vector<Summary>>& result) {
  std::vector<ModelStreamInferResponse> end;
  if (result.ok()) {
    *end.emplace_back().mutable_infer_response() =
        ToInferResponse(request(), *result, sent_, stream_->model());
    if (request().stream && request().empty_final) {
      SetFinalResponse(false, end.back().mutable_infer_response());
      *end.emplace_back().mutable_infer_response() = ToInferNames(request().id, stream_->model());
    }
    SetFinalResponse(true, end.back().mutable_infer_response());
  } else {
    end.push_back(ToInferFailure(request().id, result.status(), stream_->model()));
  }
  stream_->PushEnd(shared_from_this(), std::move(end));
}

void InferStream::Open() {
  {
    MutexLock lock(mutex_);
    self_ = shared_from_this();
  }
  const Status status = core_.gate.Enter(context_, Method::kModelStreamInfer, &ticket_);
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

void InferStream::TryRead() {
  MutexLock lock(mutex_);
  if (reading_ || closing_ || outstanding_ >= core_.options.stream_outstanding) return;
  if (!permit_.held()) {
    const auto again = [weak = weak_from_this()] {
      if (auto stream = weak.lock()) stream->TryRead();
    };
    Duration wait{0};
    permit_ = core_.admission.AdmitOrWait(ticket_.client, this, again, &wait);
    if (!permit_.held()) {
      if (wait.count() != 0) alarm_.Set(wait, weak_from_this(), &InferStream::TryRead);
      return;
    }
  }
  reading_ = true;
  StartRead(&read_);
}

void InferStream::OnReadDone(bool ok) {
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

StatusOr<std::shared_ptr<InferTasks>> InferStream::Accept(
    const inference::ModelInferRequest& message, const Ticket& ticket, AdmissionPermit permit) {
  PRECIS_ASSIGN_OR_RETURN(InferRequest request,
                          ToInferRequest(message, core_.summarizer.engine(), core_.options,
                                         /*streams=*/true));
  return InferTasks::Admit(core_, *context_, ticket, std::move(request), std::move(permit));
}

void InferStream::ReadItem() {
  constexpr int kIdField = 3;
  AdmissionPermit permit;
  {
    MutexLock lock(mutex_);
    if (closing_) return;  // what was read was never accepted
    ++outstanding_;        // accepted: the stream can't end before it is answered
    permit = std::move(permit_);
  }
  const Ticket ticket = core_.gate.ItemTicket(*context_, ticket_, ++items_);
  inference::ModelInferRequest message;
  if (const Status status = ParseMessage(read_, &message); !status.ok()) {
    Refuse(ticket, SalvageString(read_, kIdField), status);
    return;
  }
  auto tasks = Accept(message, ticket, std::move(permit));
  if (!tasks.ok()) {
    Refuse(ticket, message.id(), tasks.status());
    return;
  }
  const auto item = std::make_shared<StreamItem>(shared_from_this(), *tasks);
  {
    MutexLock lock(mutex_);
    running_.insert(item);
  }
  (*tasks)->Run(item);
  // A client that left before the item was listed.
  if (context_->IsCancelled()) (*tasks)->Abort(WhyCancelled(*context_));
}

void InferStream::Refuse(const Ticket& ticket, const std::string& id, const Status& why) {
  RecordOutcome(core_, ticket, why, nullptr);
  Answer answer;
  // An id beyond its limit is not sent back.
  answer.message = ToInferFailure(FieldOf(why) == "id" ? "" : id, why, model());
  answer.last = true;
  Push(std::move(answer));
}

void InferStream::PushPiece(const std::shared_ptr<StreamItem>& item, const std::string& text) {
  {
    MutexLock lock(mutex_);
    if (running_.count(item) == 0) return;  // it has ended
    // A slow reader gets fewer and larger pieces.
    const auto waiting = std::find_if(answers_.begin(), answers_.end(),
                                      [&item](const Answer& a) { return a.item == item; });
    Answer& answer = waiting != answers_.end() ? *waiting : answers_.emplace_back();
    answer.item = item;
    answer.piece = true;
    answer.text += text;
  }
  Pump();
}

void InferStream::PushEnd(const std::shared_ptr<StreamItem>& item,
                          std::vector<ModelStreamInferResponse> end) {
  {
    MutexLock lock(mutex_);
    running_.erase(item);
    for (size_t i = 0; i < end.size(); ++i) {
      Answer& answer = answers_.emplace_back();
      answer.item = item;
      answer.message = std::move(end[i]);
      answer.last = i + 1 == end.size();
    }
  }
  Pump();
}

void InferStream::Push(Answer answer) {
  {
    MutexLock lock(mutex_);
    answers_.push_back(std::move(answer));
  }
  Pump();
}

void InferStream::OnWriteDone(bool /*ok*/) {
  std::shared_ptr<StreamItem> sent;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (std::exchange(writing_last_, false)) {
      --outstanding_;
      sent = std::move(writing_item_);
    }
    writing_item_.reset();
  }
  if (sent) sent->tasks()->ReplySent();
  Pump();
  TryRead();
}

void InferStream::Pump() {
  Status outcome;
  {
    MutexLock lock(mutex_);
    if (writing_ || finishing_) return;
    if (!answers_.empty()) {
      Answer& answer = answers_.front();
      if (answer.piece) {
        *answer.message.mutable_infer_response() =
            ToInferPiece(answer.item->request(), answer.text, model());
        SetFinalResponse(false, answer.message.mutable_infer_response());
      }
      SerializeMessage(answer.message, &in_flight_);
      writing_item_ = std::move(answer.item);
      writing_last_ = answer.last;
      answers_.pop_front();
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

void InferStream::Close(const Status& why) {
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

void InferStream::OnCancel() {
  const Status why = WhyCancelled(*context_);
  Close(why);
  std::vector<std::shared_ptr<InferTasks>> running;
  {
    MutexLock lock(mutex_);
    for (const auto& item : running_) running.push_back(item->tasks());
  }
  for (const auto& tasks : running) tasks->Abort(why);
}

void InferStream::OnDone() {
  core_.live.Remove(this);
  std::shared_ptr<InferStream> last;  // after the lock
  MutexLock lock(mutex_);
  last = std::move(self_);
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* OpenInferStream(
    ServerCore& core, grpc::CallbackServerContext* context) {
  auto reply = std::make_shared<InferStream>(core, context);
  InferStream* reactor = reply.get();
  // From here the call may be over at any moment: only the pointer's value is used below.
  reply->Open();
  return reactor;
}

}  // namespace precis
