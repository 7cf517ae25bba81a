#include "server/open_inference/stream_call.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/calls/request_stream.h"
#include "server/net/wire.h"
#include "server/observe/errors.h"
#include "server/open_inference/reply.h"
#include "server/open_inference/request.h"
#include "server/open_inference/tasks.h"

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

class InferStream final : public RequestStream {
 public:
  InferStream(ServerCore& core, grpc::CallbackServerContext* context)
      : RequestStream(core, context, Method::kModelStreamInfer) {}

  const ModelInfo& model() const { return core_.summarizer.info(); }

  // A piece of an item's text; joined to the one before while that has not been written.
  void PushPiece(const std::shared_ptr<StreamItem>& item, const std::string& text);
  // The item's last answer, or the last two.
  void PushEnd(const std::shared_ptr<StreamItem>& item, std::vector<ModelStreamInferResponse> end);

 private:
  struct Message {
    std::shared_ptr<StreamItem> item;  // null when it was refused
    bool piece = false;
    std::string text;               // of a piece
    ModelStreamInferResponse said;  // of the others
    bool last = false;              // the item is answered with it
    uint64_t bytes = 0;             // of `text` or `said`
  };

  void TakeIn(const grpc::ByteBuffer& bytes, AdmissionPermit permit) override;
  std::optional<Answer> NextAnswer() override PRECIS_REQUIRES(mutex_);
  uint64_t WaitingBytes() const override PRECIS_REQUIRES(mutex_) { return waiting_bytes_; }
  void AbortRequests(const Status& why) override;

  StatusOr<std::shared_ptr<InferTasks>> Accept(const inference::ModelInferRequest& message,
                                               const CallContext& call_context,
                                               AdmissionPermit permit);
  void Refuse(const CallContext& call_context, const std::string& id, const Status& why);

  size_t items_ = 0;  // the one being taken in, and those before
  std::set<std::shared_ptr<StreamItem>> running_ PRECIS_GUARDED_BY(mutex_);
  std::deque<Message> messages_ PRECIS_GUARDED_BY(mutex_);
  uint64_t waiting_bytes_ PRECIS_GUARDED_BY(mutex_) = 0;  // of all messages
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

StatusOr<std::shared_ptr<InferTasks>> InferStream::Accept(
    const inference::ModelInferRequest& message, const CallContext& call_context,
    AdmissionPermit permit) {
  PRECIS_ASSIGN_OR_RETURN(InferRequest request,
                          ToInferRequest(message, call_context.client, core_.summarizer,
                                         core_.options, /*streams=*/true));
  return InferTasks::Admit(core_, *context_, call_context, std::move(request), std::move(permit));
}

void InferStream::TakeIn(const grpc::ByteBuffer& bytes, AdmissionPermit permit) {
  constexpr int kIdField = 3;
  const CallContext call_context = core_.entry.ItemContext(*context_, call_context_, ++items_);
  inference::ModelInferRequest message;
  if (const Status status = ParseMessage(bytes, core_.options, &message); !status.ok()) {
    return Refuse(call_context, SalvageString(bytes, kIdField), status);
  }
  auto tasks = Accept(message, call_context, std::move(permit));
  if (!tasks.ok()) return Refuse(call_context, message.id(), tasks.status());
  const auto self = std::static_pointer_cast<InferStream>(shared_from_this());
  const auto item = std::make_shared<StreamItem>(self, *tasks);
  {
    MutexLock lock(mutex_);
    running_.insert(item);
  }
  (*tasks)->Run(item);
  // A client that left before the item was listed.
  if (context_->IsCancelled()) (*tasks)->Abort(WhyCancelled());
}

void InferStream::Refuse(const CallContext& call_context, const std::string& id,
                         const Status& why) {
  RecordOutcome(core_, call_context, why, nullptr);
  Message message;
  // An id beyond its limit is not sent back.
  message.said = ToInferFailure(FieldOf(why) == "id" ? "" : id, why, model());
  message.last = true;
  message.bytes = message.said.ByteSizeLong();
  {
    MutexLock lock(mutex_);
    waiting_bytes_ += message.bytes;
    messages_.push_back(std::move(message));
  }
  Pump();
}

void InferStream::PushPiece(const std::shared_ptr<StreamItem>& item, const std::string& text) {
  {
    MutexLock lock(mutex_);
    if (running_.count(item) == 0) return;  // it has ended
    // A slow reader gets fewer and larger pieces.
    const auto waiting = std::find_if(messages_.begin(), messages_.end(),
                                      [&item](const Message& m) { return m.item == item; });
    Message& message = waiting != messages_.end() ? *waiting : messages_.emplace_back();
    message.item = item;
    message.piece = true;
    message.text += text;
    message.bytes += text.size();
    waiting_bytes_ += text.size();
  }
  Pump();
}

void InferStream::PushEnd(const std::shared_ptr<StreamItem>& item,
                          std::vector<ModelStreamInferResponse> end) {
  {
    MutexLock lock(mutex_);
    running_.erase(item);
    for (size_t i = 0; i < end.size(); ++i) {
      Message& message = messages_.emplace_back();
      message.item = item;
      message.said = std::move(end[i]);
      message.last = i + 1 == end.size();
      message.bytes = message.said.ByteSizeLong();
      waiting_bytes_ += message.bytes;
    }
  }
  Pump();
}

std::optional<RequestStream::Answer> InferStream::NextAnswer() {
  if (messages_.empty()) return std::nullopt;
  Message& next = messages_.front();
  if (next.piece) {
    *next.said.mutable_infer_response() = ToInferPiece(next.item->request(), next.text, model());
    SetFinalResponse(false, next.said.mutable_infer_response());
  }
  Answer answer;
  SerializeMessage(next.said, &answer.bytes);
  answer.is_last = next.last;
  if (next.last && next.item != nullptr) {
    answer.over = [tasks = next.item->tasks()](const Status& why_lost) {
      why_lost.ok() ? tasks->ReplySent() : tasks->ReplyLost(why_lost);
    };
  }
  waiting_bytes_ -= next.bytes;
  messages_.pop_front();
  return answer;
}

void InferStream::AbortRequests(const Status& why) {
  std::vector<std::shared_ptr<InferTasks>> running;
  {
    MutexLock lock(mutex_);
    for (const auto& item : running_) running.push_back(item->tasks());
  }
  for (const auto& tasks : running) tasks->Abort(why);
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
