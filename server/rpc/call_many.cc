#include "server/rpc/call_many.h"

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "server/calls/request_stream.h"
#include "server/calls/task.h"
#include "server/net/wire.h"
#include "server/observe/errors.h"
#include "server/rpc/call.h"
#include "server/rpc/reply.h"

namespace precis {
namespace {

constexpr size_t kMaxIdBytes = 128;
constexpr int kIdField = 6;
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

class ManyReply final : public RequestStream {
 public:
  ManyReply(ServerCore& core, grpc::CallbackServerContext* context)
      : RequestStream(core, context, Method::kSummarizeMany) {}

  void ItemFinished(const std::string& id, const StatusOr<Summary>& result);

 private:
  struct Result {
    v1::SummarizeManyResponse message;
    std::shared_ptr<SummaryTask> task = nullptr;  // null when it was refused
    uint64_t bytes = 0;                           // of the message
  };

  void TakeIn(const grpc::ByteBuffer& bytes, AdmissionPermit permit) override;
  std::optional<Answer> NextAnswer() override PRECIS_REQUIRES(mutex_);
  uint64_t WaitingBytes() const override PRECIS_REQUIRES(mutex_) { return waiting_bytes_; }
  void AbortRequests(const Status& why) override;

  // The status ends the stream: without a usable id there is no one to answer.
  Status CheckId(const std::string& id);
  void Refuse(const CallContext& call_context, const std::string& id, const Status& why);
  void Start(const std::string& id, OpenedCall call);
  void Push(Result result);

  std::unordered_set<std::string> ids_;  // of the message being taken in, and those before
  std::unordered_map<std::string, std::shared_ptr<SummaryTask>> running_ PRECIS_GUARDED_BY(mutex_);
  std::deque<Result> results_ PRECIS_GUARDED_BY(mutex_);
  uint64_t waiting_bytes_ PRECIS_GUARDED_BY(mutex_) = 0;  // of all results
};

void ManyItem::Finished(const StatusOr<Summary>& result) { stream_->ItemFinished(id_, result); }

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

void ManyReply::TakeIn(const grpc::ByteBuffer& bytes, AdmissionPermit permit) {
  v1::SummarizeManyRequest message;
  const Status parsed = ParseMessage(bytes, core_.options, &message);
  const std::string id = parsed.ok() ? message.id() : SalvageString(bytes, kIdField);
  if (const Status usable = CheckId(id); !usable.ok()) {
    // Of bytes that are no message it is not the id that is wrong.
    return EndUnanswered(parsed.ok() ? usable : parsed);
  }
  OpenedCall call;
  call.context = core_.entry.ItemContext(*context_, call_context_, ids_.size());
  if (!parsed.ok()) return Refuse(call.context, id, parsed);
  auto request = ToRequest(ViewOf(message), call_context_.client, core_.summarizer, core_.options);
  if (!request.ok()) return Refuse(call.context, id, request.status());
  call.request = *std::move(request);
  call.permit = std::move(permit);
  call.permit.SetTokens(call.request->cost_tokens());
  Start(id, std::move(call));
}

void ManyReply::Refuse(const CallContext& call_context, const std::string& id, const Status& why) {
  RecordOutcome(core_, call_context, why, nullptr);
  Result result;
  result.message.set_id(id);
  *result.message.mutable_error() = ToRpcStatus(why);
  Push(std::move(result));
}

void ManyReply::Start(const std::string& id, OpenedCall call) {
  auto task = std::make_shared<SummaryTask>(core_, std::move(call.context), std::move(call.permit));
  {
    MutexLock lock(mutex_);
    running_.emplace(id, task);
  }
  const auto self = std::static_pointer_cast<ManyReply>(shared_from_this());
  task->Run(*std::move(call.request), std::make_shared<ManyItem>(self, id));
  // A client that left before the task was listed.
  if (context_->IsCancelled()) task->Abort(WhyCancelled());
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
        ToSummary(*result, core_.summarizer.info(), out.task->call_context().request_id);
  } else {
    *out.message.mutable_error() = ToRpcStatus(result.status());
  }
  Push(std::move(out));
}

void ManyReply::Push(Result result) {
  result.bytes = result.message.ByteSizeLong();
  {
    MutexLock lock(mutex_);
    waiting_bytes_ += result.bytes;
    results_.push_back(std::move(result));
  }
  Pump();
}

std::optional<RequestStream::Answer> ManyReply::NextAnswer() {
  if (results_.empty()) return std::nullopt;
  Answer answer;
  SerializeMessage(results_.front().message, &answer.bytes);
  waiting_bytes_ -= results_.front().bytes;
  if (auto task = std::move(results_.front().task)) {
    answer.over = [task = std::move(task)](const Status& why_lost) {
      why_lost.ok() ? task->ReplySent() : task->ReplyLost(why_lost);
    };
  }
  results_.pop_front();
  return answer;
}

void ManyReply::AbortRequests(const Status& why) {
  std::vector<std::shared_ptr<SummaryTask>> tasks;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, task] : running_) tasks.push_back(task);
  }
  for (const auto& task : tasks) task->Abort(why);
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
