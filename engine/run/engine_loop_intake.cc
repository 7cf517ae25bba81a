// How requests come in and how they are answered when they go: the loop's half that other threads
// see.
#include <algorithm>
#include <utility>

#include "engine/run/engine_loop.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Of all principals where they share, so that they find each other's documents.
constexpr TenantId kEverybody = 0;

}  // namespace

Status EngineLoop::DeviceFailed() {
  return ReasonError(absl::StatusCode::kUnavailable, Reason::kDeviceFailed,
                     "the server's device has failed; ask another server");
}

SequenceSpec EngineLoop::SpecOf(const SequenceRequest& request) {
  SequenceSpec spec;
  spec.source_tokens = static_cast<uint32_t>(request.source_ids.size());
  spec.max_new_tokens = request.options.max_new_tokens;
  spec.beams = request.options.num_beams;
  spec.priority = request.priority;
  return spec;
}

bool EngineLoop::CountIn() {
  uint32_t n = unfinished_.load();
  do {
    if (n >= options_.max_sequences) return false;
  } while (!unfinished_.compare_exchange_weak(n, n + 1));
  if (n == 0) progress_ns_.store(clock_.Now().time_since_epoch().count());
  return true;
}

StatusOr<std::shared_ptr<EventQueue>> EngineLoop::Submit(SequenceRequest request) {
  const SequenceSpec spec = SpecOf(request);
  const uint32_t worst = scheduler_.WorstCasePages(spec);
  if (worst > pool_.total()) {
    return FieldError(
        "source",
        fmt::format("{} source tokens and {} new tokens in {} beams need {} pages, the whole pool "
                    "has {}",
                    request.source_ids.size(), request.options.max_new_tokens,
                    request.options.num_beams, worst, pool_.total()));
  }
  if (stopping_.load()) {
    return ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped, "the engine has stopped");
  }
  if (device_failed_.load()) return DeviceFailed();
  if (!CountIn()) {
    return ReasonError(absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
                       fmt::format("{} requests are accepted and unfinished, which is the limit",
                                   options_.max_sequences));
  }
  auto queue = std::make_shared<EventQueue>(request.options.max_new_tokens, request.listener);
  if (!submissions_.TryPush({std::move(request), queue, clock_.Now()})) {
    unfinished_.fetch_sub(1);
    return ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped, "the engine has stopped");
  }
  return queue;
}

void EngineLoop::FlushCache() {
  MutexLock lock(flush_mutex_);
  std::promise<void> flushed;
  if (submissions_.TryPush({{}, nullptr, clock_.Now(), &flushed})) flushed.get_future().wait();
}

void EngineLoop::Stop() {
  stopping_.store(true);
  submissions_.Close();
  MutexLock lock(stop_mutex_);
  if (thread_.joinable()) thread_.join();
}

EngineStats EngineLoop::stats() const {
  EngineStats out;
  {
    MutexLock lock(stats_mutex_);
    out = stats_;
  }
  const uint32_t unfinished = unfinished_.load();
  const uint32_t known = out.waiting + out.encoding + out.decoding;
  if (unfinished > known) out.waiting += unfinished - known;  // still in the submission queue
  if (unfinished > 0) {
    const Duration since(clock_.Now().time_since_epoch().count() - progress_ns_.load());
    out.seconds_since_progress = std::max(0.0, Seconds(since));
  }
  return out;
}

bool EngineLoop::Intake() {
  if (scheduler_.idle()) {
    auto submission = submissions_.Pop();
    if (!submission) return false;
    Take(*std::move(submission));
  }
  while (auto submission = submissions_.TryPop()) Take(*std::move(submission));
  return !stopping_.load();
}

void EngineLoop::Take(Submission submission) {
  if (submission.queue != nullptr) return Join(std::move(submission));
  scheduler_.FlushDocuments();
  ForgetDocuments();
  Publish();
  submission.flushed->set_value();
}

void EngineLoop::Join(Submission submission) {
  if (device_failed_.load()) {  // it came while the device failed
    return FinishQueue(*submission.queue,
                       {.reason = FinishReason::kError, .status = DeviceFailed()});
  }
  SequenceSpec spec = SpecOf(submission.request);
  spec.tenant = tenants_.Of(submission.request.principal);
  const TenantId owner = options_.share_cross_cache ? kEverybody : spec.tenant;
  spec.document = documents_.Find(owner, submission.request.source_ids);
  const SequenceId id = scheduler_.Add(spec);
  const DocumentId document = scheduler_.document(id);
  if (!spec.document) {
    if (document >= document_owner_.size()) document_owner_.resize(document + 1);
    document_owner_[document] = spec.tenant;
    documents_.Add(document, owner, std::move(submission.request.source_ids));
    runner_->JoinDocument(document, documents_.ids(document));
  }
  submission.request.source_ids = {};  // the document has them
  Active& a = active_[id];
  a.request = std::move(submission.request);
  a.queue = std::move(submission.queue);
  a.submitted = submission.submitted;
  a.last_token = {};
  a.timings = {};
  a.generated = 0;
  a.own_document = document_owner_[document] == spec.tenant;
  a.cache_hit = false;
  ids_in_use_.push_back(id);
  runner_->Join(id, {documents_.ids(document), &a.request.options, a.request.options.max_new_tokens,
                     a.request.sequence_index});
}

void EngineLoop::FinishQueue(EventQueue& queue, TokenEvent last) {
  // Before the event: whoever sees the end may submit again at once.
  unfinished_.fetch_sub(1);
  last.kind = TokenEvent::Kind::kFinished;
  queue.Push(std::move(last));
  queue.Notify();
}

}  // namespace precis
