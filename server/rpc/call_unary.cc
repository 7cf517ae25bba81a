#include "server/rpc/call_unary.h"

#include <memory>
#include <utility>

#include "common/mutex.h"
#include "server/calls/task.h"
#include "server/net/wire.h"
#include "server/rpc/call.h"
#include "server/rpc/reply.h"

namespace precis {
namespace {

class UnaryReply final : public grpc::ServerUnaryReactor, public ReplySink {
 public:
  UnaryReply(ServerCore& core, grpc::CallbackServerContext* context, grpc::ByteBuffer* response)
      : core_(core), context_(context), response_(response) {}

  static void Run(std::shared_ptr<UnaryReply> reply, OpenedCall call) {
    reply->unread_ = reply->core_.unread.Open(call.context, reply->context_);
    reply->task_ = std::make_shared<SummaryTask>(reply->core_, std::move(call.context),
                                                 std::move(call.permit));
    reply->self_ = reply;
    reply->task_->Run(*std::move(call.request), reply);
  }

  void Accepted(uint32_t) override {
    MutexLock lock(mutex_);
    if (ended_) return;
    named_ = true;
    AddCallMetadata(task_->call_context(), OkStatus(), context_);
    StartSendInitialMetadata();
  }

  void Finished(const StatusOr<Summary>& result) override {
    {
      MutexLock lock(mutex_);
      ended_ = true;
      if (!named_) AddCallMetadata(task_->call_context(), result.status(), context_);
    }
    task_->ReplySent();
    if (result.ok()) {
      v1::SummarizeResponse response;
      *response.mutable_summary() =
          ToSummary(*result, core_.summarizer.info(), task_->call_context().request_id);
      SerializeMessage(response, response_);
      unread_->Set(response_->Length());
    }
    Finish(ToGrpcStatus(result.status(), context_));
  }

  void OnCancel() override { task_->Abort(unread_->WhyCancelled()); }
  void OnDone() override {
    unread_->Done();
    std::shared_ptr<UnaryReply> last;  // after the lock
    MutexLock lock(mutex_);
    last = std::move(self_);
  }

 private:
  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  std::shared_ptr<SummaryTask> task_;
  std::shared_ptr<UnreadReply> unread_;
  std::shared_ptr<UnaryReply> self_;  // shared with the task, which may speak after gRPC has left
  Mutex mutex_;
  bool named_ PRECIS_GUARDED_BY(mutex_) = false;  // with the initial metadata
  bool ended_ PRECIS_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* OpenUnary(ServerCore& core, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  OpenedCall call;
  const Status status =
      OpenCall<v1::SummarizeRequest>(core, context, Method::kSummarize, request, &call);
  if (!status.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(status, context));
    return reactor;
  }
  auto reply = std::make_shared<UnaryReply>(core, context, response);
  UnaryReply* reactor = reply.get();
  // From here the call may be over at any moment: only the pointer's value is used below.
  UnaryReply::Run(std::move(reply), std::move(call));
  return reactor;
}

}  // namespace precis
