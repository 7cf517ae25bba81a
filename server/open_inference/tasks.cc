#include "server/open_inference/tasks.h"

#include <algorithm>
#include <utility>

namespace precis {
namespace {

Status AnotherFailed() {
  return Status(absl::StatusCode::kCancelled,
                absl::string_view("another text of the same request failed"));
}

}  // namespace

class InferTasks::TextSink final : public ReplySink {
 public:
  TextSink(std::shared_ptr<InferTasks> all, size_t index) : all_(std::move(all)), index_(index) {}
  void Accepted(uint32_t /*source_tokens*/) override { all_->Accepted(); }
  void Delta(uint32_t /*index*/, const std::string& text) override { all_->Delta(text); }
  void Finished(const StatusOr<Summary>& result) override { all_->TextFinished(index_, result); }

 private:
  const std::shared_ptr<InferTasks> all_;  // shared: a text may end after gRPC has left
  const size_t index_;
};

StatusOr<std::shared_ptr<InferTasks>> InferTasks::Admit(ServerCore& core,
                                                        const grpc::CallbackServerContext& context,
                                                        const CallContext& call_context,
                                                        InferRequest request,
                                                        AdmissionPermit first) {
  const size_t count = request.texts.size();
  std::vector<uint64_t> costs;
  for (const ValidRequest& text : request.texts) costs.push_back(text.cost_tokens());
  PRECIS_ASSIGN_OR_RETURN(std::vector<AdmissionPermit> permits,
                          core.admission.TryAdmitAll(call_context.client, costs, std::move(first)));
  std::vector<std::shared_ptr<SummaryTask>> tasks;
  for (size_t i = 0; i < count; ++i) {
    CallContext own =
        count == 1 ? call_context : core.entry.ItemContext(context, call_context, i + 1);
    own.start = call_context.start;
    if (request.timeout) {
      const TimePoint end = call_context.start + *request.timeout;
      own.deadline = std::min(own.deadline.value_or(end), end);
    }
    tasks.push_back(std::make_shared<SummaryTask>(core, std::move(own), std::move(permits[i])));
  }
  return std::make_shared<InferTasks>(std::move(tasks), std::move(request));
}

InferTasks::InferTasks(std::vector<std::shared_ptr<SummaryTask>> tasks, InferRequest request)
    : tasks_(std::move(tasks)),
      request_(std::move(request)),
      summaries_(tasks_.size()),
      unfinished_(tasks_.size()) {}

void InferTasks::Run(std::shared_ptr<InferSink> sink) {
  {
    MutexLock lock(mutex_);
    sink_ = std::move(sink);
  }
  std::vector<ValidRequest> texts = std::move(request_.texts);
  for (size_t i = 0; i < tasks_.size(); ++i) {
    tasks_[i]->Run(std::move(texts[i]), std::make_shared<TextSink>(shared_from_this(), i));
  }
  Status abort;
  {
    // A task cannot be ended before it runs; who wanted to has left word here.
    MutexLock lock(mutex_);
    started_ = true;
    abort = abort_;
  }
  if (!abort.ok()) Abort(abort);
}

void InferTasks::Abort(const Status& why) {
  {
    MutexLock lock(mutex_);
    if (abort_.ok()) abort_ = why;
    if (!started_) return;
  }
  for (const auto& task : tasks_) task->Abort(why);
}

void InferTasks::ReplySent() {
  for (const auto& task : tasks_) task->ReplySent();
}

void InferTasks::ReplyLost(const Status& why) {
  for (const auto& task : tasks_) task->ReplyLost(why);
}

void InferTasks::Accepted() {
  if (auto out = sink()) out->Accepted();
}

void InferTasks::Delta(const std::string& text) {
  if (auto out = sink()) out->Delta(text);
}

void InferTasks::TextFinished(size_t index, const StatusOr<Summary>& result) {
  std::shared_ptr<InferSink> out;
  StatusOr<std::vector<Summary>> outcome = std::vector<Summary>();
  bool first_failure = false;
  {
    MutexLock lock(mutex_);
    if (result.ok()) {
      summaries_[index] = *result;
    } else if (failure_.ok()) {
      failure_ = InInferWords(result.status(), index, tasks_.size());
      first_failure = true;
    }
    if (--unfinished_ == 0) {
      out = std::move(sink_);
      if (failure_.ok()) {
        outcome = std::move(summaries_);
      } else {
        outcome = failure_;
      }
    }
  }
  if (first_failure) {
    Abort(AnotherFailed());
    // Of those that were ready: their summaries go nowhere.
    ReplyLost(AnotherFailed());
  }
  if (out) out->Finished(outcome);
}

std::shared_ptr<InferSink> InferTasks::sink() {
  MutexLock lock(mutex_);
  return sink_;
}

}  // namespace precis
