#include "server/open_inference/unary_call.h"

#include <memory>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "server/net/wire.h"
#include "server/observe/errors.h"
#include "server/open_inference/reply.h"
#include "server/open_inference/request.h"
#include "server/open_inference/tasks.h"

namespace precis {
namespace {

class InferReply final : public grpc::ServerUnaryReactor, public InferSink {
 public:
  InferReply(ServerCore& core, grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
             CallContext call_context, std::shared_ptr<InferTasks> tasks)
      : core_(core),
        context_(context),
        response_(response),
        call_context_(std::move(call_context)),
        tasks_(std::move(tasks)),
        unread_(core.unread.Open(call_context_, context)) {}

  static void Run(const std::shared_ptr<InferReply>& reply) {
    const std::shared_ptr<InferTasks> tasks = reply->tasks_;
    reply->self_ = reply;
    tasks->Run(reply);
  }

  void Accepted() override {
    MutexLock lock(mutex_);
    if (std::exchange(told_, true)) return;
    AddCallMetadata(call_context_, OkStatus(), context_);
    StartSendInitialMetadata();
  }

  void Finished(const StatusOr<std::vector<Summary>>& result) override {
    {
      MutexLock lock(mutex_);
      if (!std::exchange(told_, true)) AddCallMetadata(call_context_, result.status(), context_);
    }
    tasks_->ReplySent();
    if (result.ok()) {
      SerializeMessage(ToInferResponse(tasks_->request(), *result, 0, core_.summarizer.info()),
                       response_);
      unread_->Set(response_->Length());
    }
    Finish(ToGrpcStatus(result.status(), context_));
  }

  void OnCancel() override {
    std::shared_ptr<InferTasks> tasks;
    {
      MutexLock lock(mutex_);
      tasks = tasks_;
    }
    tasks->Abort(unread_->WhyCancelled());
  }
  void OnDone() override {
    unread_->Done();
    std::shared_ptr<InferReply> last;  // after the lock
    MutexLock lock(mutex_);
    last = std::move(self_);
  }

 private:
  ServerCore& core_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const CallContext call_context_;
  const std::shared_ptr<InferTasks> tasks_;
  const std::shared_ptr<UnreadReply> unread_;
  std::shared_ptr<InferReply> self_;  // shared with the tasks, which may speak after gRPC has left
  Mutex mutex_;
  bool told_ PRECIS_GUARDED_BY(mutex_) = false;  // initial metadata, or the end
};

StatusOr<std::shared_ptr<InferTasks>> Open(ServerCore& core, grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer& bytes,
                                           CallContext* call_context) {
  PRECIS_RETURN_IF_ERROR(core.entry.Authenticate(context, Method::kModelInfer, call_context));
  inference::ModelInferRequest message;
  PRECIS_RETURN_IF_ERROR(ParseMessage(bytes, core.options, &message));
  PRECIS_ASSIGN_OR_RETURN(InferRequest request,
                          ToInferRequest(message, call_context->client, core.summarizer,
                                         core.options, /*streams=*/false));
  return InferTasks::Admit(core, *context, *call_context, std::move(request), {});
}

}  // namespace

grpc::ServerUnaryReactor* OpenInfer(ServerCore& core, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  CallContext call_context;
  auto tasks = Open(core, context, request, &call_context);
  if (!tasks.ok()) {
    AddCallMetadata(call_context, tasks.status(), context);
    RecordOutcome(core, call_context, tasks.status(), nullptr);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(tasks.status(), context));
    return reactor;
  }
  const auto reply = std::make_shared<InferReply>(core, context, response, std::move(call_context),
                                                  *std::move(tasks));
  InferReply* reactor = reply.get();
  // From here the call may be over at any moment: only the pointer's value is used below.
  InferReply::Run(reply);
  return reactor;
}

}  // namespace precis
