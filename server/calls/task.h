// One request between its place in the queue and its outcome: listens to the engine, calls the
// reply, and makes sure that there is one outcome, whoever is first to end it. A failure is the
// outcome at once; a summary is one when its reply was sent.
//
// Owner: shared by the reply that it serves and the summarizer that it listens to, because either
// may be gone first (a client that left, an engine that is slow). Thread rule: any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "common/mutex.h"
#include "engine/request/summarizer.h"
#include "server/calls/core.h"

namespace precis {

// Where a task's events go. Calls may come from different threads, but Finished is the last that
// counts: what a racing thread says after it is to be ignored.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void Accepted(uint32_t /*source_tokens*/) {}
  virtual void Started() {}
  virtual void Searched(uint32_t /*generated_tokens*/) {}
  virtual void Windows(uint32_t /*done*/, uint32_t /*total*/) {}
  virtual void Delta(uint32_t /*index*/, const std::string& /*text*/) {}
  // Once. The sink then calls SummaryTask::ReplySent(), or ReplyLost().
  virtual void Finished(const StatusOr<Summary>& result) = 0;
};

class SummaryTask final : public SummaryListener,
                          public LiveCall,
                          public std::enable_shared_from_this<SummaryTask> {
 public:
  SummaryTask(ServerCore& core, CallContext call_context, AdmissionPermit permit);
  ~SummaryTask() override;

  // Gives the request to the summarizer. Whatever happens, the sink receives Finished once.
  void Run(ValidRequest request, std::shared_ptr<ReplySink> sink);
  // Ends the request with `why`, now; the engine gives its pages back a step later, and with them
  // its place in the queue. Idempotent.
  void Abort(const Status& why) override;
  // All of the reply was given to gRPC, and what came before it was taken: the summary counts.
  void ReplySent();
  // The call ended before that: `why` is the outcome, unless the request has failed before. After
  // Finished or Abort(). Idempotent, as is ReplySent(): the first of both counts.
  void ReplyLost(const Status& why);

  const CallContext& call_context() const { return call_context_; }

  void OnAccepted(uint32_t source_tokens) override;
  void OnStarted() override;
  void OnWindows(uint32_t done, uint32_t total) override;
  void OnSearched(uint32_t generated_tokens) override;
  void OnDelta(uint32_t index, const std::string& text) override;
  void OnFinished(StatusOr<Summary> summary) override;

 private:
  void Finish(const StatusOr<Summary>& result);
  void Record(const Status& status);
  void EngineLetGo();
  void ReplyOver();
  // Once, of each of the two that the permit is held for.
  void ReleaseHolder();
  std::shared_ptr<ReplySink> sink();

  ServerCore& core_;
  const CallContext call_context_;
  uint64_t new_tokens_ = 0;  // most that it may generate, of all beams and samples
  std::atomic<bool> finished_{false};
  std::atomic<bool> recorded_{false};
  std::atomic<bool> reply_over_{false};
  std::atomic<int> holders_{2};  // the reply and the engine; the last one gives the permit back

  Mutex mutex_;
  AdmissionPermit permit_ PRECIS_GUARDED_BY(mutex_);
  std::shared_ptr<ReplySink> sink_ PRECIS_GUARDED_BY(mutex_);  // until Finished
  std::unique_ptr<SummaryCall> call_ PRECIS_GUARDED_BY(mutex_);
  bool ended_ PRECIS_GUARDED_BY(mutex_) = false;  // no call is to be kept any more
  Summary summary_ PRECIS_GUARDED_BY(mutex_);     // finished, without its texts
  TimePoint ready_ PRECIS_GUARDED_BY(mutex_);     // when it was
};

}  // namespace precis
