#include "server/calls/task.h"

#include <chrono>
#include <utility>

namespace precis {
namespace {

// What the ledger needs of it: the reply may wait long for its client.
Summary WithoutTexts(const Summary& summary) {
  Summary out;
  for (const SummaryText& sequence : summary.sequences) {
    out.sequences.emplace_back().finish_reason = sequence.finish_reason;
  }
  out.source_tokens = summary.source_tokens;
  out.generated_tokens = summary.generated_tokens;
  out.timings = summary.timings;
  return out;
}

}  // namespace

SummaryTask::SummaryTask(ServerCore& core, CallContext call_context, AdmissionPermit permit)
    : core_(core), call_context_(std::move(call_context)), permit_(std::move(permit)) {}

// Who aborted it in a thread of gRPC's was before us by gRPC's own order, which ThreadSanitizer
// does not see; it sees the lock.
SummaryTask::~SummaryTask() { MutexLock lock(mutex_); }

void SummaryTask::Run(ValidRequest request, std::shared_ptr<ReplySink> sink) {
  {
    MutexLock lock(mutex_);
    sink_ = std::move(sink);
  }
  core_.live.Add(shared_from_this());
  request.SetDeadline(call_context_.deadline);
  new_tokens_ = request.new_tokens();
  auto started = core_.summarizer.Start(std::move(request), shared_from_this());
  if (!started.ok()) {
    EngineLetGo();  // never had it
    Finish(started.status());
    return;
  }
  std::unique_ptr<SummaryCall> call = *std::move(started);
  MutexLock lock(mutex_);
  // When it has ended meanwhile, `call` is dropped after the lock.
  if (!ended_) call_ = std::move(call);
}

void SummaryTask::Abort(const Status& why) {
  std::unique_ptr<SummaryCall> dropped;  // outside the lock: dropping it cancels
  {
    MutexLock lock(mutex_);
    ended_ = true;
    dropped = std::move(call_);
  }
  Finish(why);
}

void SummaryTask::OnAccepted(uint32_t source_tokens) {
  AdmissionPermit permit;
  {
    // Out of the lock and in again: changing it may wake a bulk stream.
    MutexLock lock(mutex_);
    permit = std::move(permit_);
  }
  permit.SetTokens(source_tokens + new_tokens_);
  {
    MutexLock lock(mutex_);
    // No one else gives it back meanwhile: the engine still holds.
    permit_ = std::move(permit);
  }
  if (auto reply = sink()) reply->Accepted(source_tokens);
}

void SummaryTask::OnStarted() {
  core_.metrics.ObserveQueue(Seconds(std::chrono::steady_clock::now() - call_context_.start));
  if (auto reply = sink()) reply->Started();
}

void SummaryTask::OnWindows(uint32_t done, uint32_t total) {
  if (auto reply = sink()) reply->Windows(done, total);
}

void SummaryTask::OnSearched(uint32_t generated_tokens) {
  if (auto reply = sink()) reply->Searched(generated_tokens);
}

void SummaryTask::OnDelta(uint32_t index, const std::string& text) {
  if (auto reply = sink()) reply->Delta(index, text);
}

void SummaryTask::OnFinished(StatusOr<Summary> summary) {
  std::unique_ptr<SummaryCall> dropped;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    dropped = std::move(call_);
  }
  // Before the reply: a client that sends its next request at once must find its place free.
  EngineLetGo();
  Finish(summary);
}

void SummaryTask::Finish(const StatusOr<Summary>& result) {
  if (finished_.exchange(true)) return;
  core_.live.Remove(this);
  if (!result.ok()) Record(result.status());
  std::shared_ptr<ReplySink> reply;
  {
    MutexLock lock(mutex_);
    if (result.ok()) {
      summary_ = WithoutTexts(*result);
      ready_ = std::chrono::steady_clock::now();
    }
    reply = std::move(sink_);
  }
  if (reply) reply->Finished(result);
}

void SummaryTask::ReplySent() {
  Record(OkStatus());
  ReplyOver();
}

void SummaryTask::ReplyLost(const Status& why) {
  Record(why);
  ReplyOver();
}

void SummaryTask::Record(const Status& status) {
  if (recorded_.exchange(true)) return;
  if (!status.ok()) return RecordOutcome(core_, call_context_, status, nullptr);
  Summary summary;
  TimePoint ready;
  {
    MutexLock lock(mutex_);
    summary = std::move(summary_);
    ready = ready_;
  }
  RecordOutcome(core_, call_context_, status, &summary, ready);
}

void SummaryTask::EngineLetGo() {
  // Out of the lock: it wakes who waits for a place. No one else gives it back meanwhile: the
  // engine's hold ends below.
  AdmissionPermit permit;
  {
    MutexLock lock(mutex_);
    permit = std::move(permit_);
  }
  permit.FreePlace();
  {
    MutexLock lock(mutex_);
    permit_ = std::move(permit);
  }
  ReleaseHolder();
}

void SummaryTask::ReplyOver() {
  if (!reply_over_.exchange(true)) ReleaseHolder();
}

void SummaryTask::ReleaseHolder() {
  if (holders_.fetch_sub(1) != 1) return;
  AdmissionPermit permit;  // given back outside the lock
  MutexLock lock(mutex_);
  permit = std::move(permit_);
}

std::shared_ptr<ReplySink> SummaryTask::sink() {
  MutexLock lock(mutex_);
  return sink_;
}

}  // namespace precis
