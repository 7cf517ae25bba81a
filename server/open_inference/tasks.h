// The texts of one ModelInfer request: each is a task of its own, as if it had come alone, and
// together they have one outcome. When one fails, the others are cancelled.
//
// Owner: shared by the reply that it serves and the tasks that it listens to. Thread rule: any
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/status.h"
#include "engine/request/summarizer.h"
#include "server/admission/admission.h"
#include "server/calls/core.h"
#include "server/calls/task.h"
#include "server/open_inference/request.h"

namespace precis {

// Where the events of the whole go; as ReplySink.
class InferSink {
 public:
  virtual ~InferSink() = default;
  virtual void Accepted() {}  // of each text
  virtual void Delta(const std::string& /*text*/) {}
  // Once: a summary a text, in their order. The sink then calls InferTasks::ReplySent(), or
  // ReplyLost().
  virtual void Finished(const StatusOr<std::vector<Summary>>& result) = 0;
};

class InferTasks final : public std::enable_shared_from_this<InferTasks> {
 public:
  // A place in the queue for every text, or none for any. `first`: a place that the first text has
  // already; may be empty.
  static StatusOr<std::shared_ptr<InferTasks>> Admit(ServerCore& core,
                                                     const grpc::CallbackServerContext& context,
                                                     const CallContext& call_context,
                                                     InferRequest request, AdmissionPermit first);

  InferTasks(std::vector<std::shared_ptr<SummaryTask>> tasks, InferRequest request);

  // Whatever happens, the sink receives Finished once.
  void Run(std::shared_ptr<InferSink> sink);
  // Ends all of them with `why`. Idempotent.
  void Abort(const Status& why);
  // As SummaryTask's, of all of them.
  void ReplySent();
  void ReplyLost(const Status& why);

  // Without its texts, once they run.
  const InferRequest& request() const { return request_; }

 private:
  class TextSink;
  void Accepted();
  void Delta(const std::string& text);
  void TextFinished(size_t index, const StatusOr<Summary>& result);
  std::shared_ptr<InferSink> sink();

  const std::vector<std::shared_ptr<SummaryTask>> tasks_;
  InferRequest request_;
  Mutex mutex_;
  std::shared_ptr<InferSink> sink_ PRECIS_GUARDED_BY(mutex_);  // until Finished
  std::vector<Summary> summaries_ PRECIS_GUARDED_BY(mutex_);
  size_t unfinished_ PRECIS_GUARDED_BY(mutex_);
  bool started_ PRECIS_GUARDED_BY(mutex_) = false;  // all of them run
  Status failure_ PRECIS_GUARDED_BY(mutex_);        // the first one
  Status abort_ PRECIS_GUARDED_BY(mutex_);          // why those still running must end
};

}  // namespace precis
