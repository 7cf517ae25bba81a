#include "engine/run/engine_loop.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/log.h"

namespace precis {
namespace {

constexpr uint32_t kProgressSteps = 8;  // of a beam search, from one kProgress to the next

// The same, of its own: sequences that end together are reported to several threads, and abseil's
// counting of a status's holders is unseen by ThreadSanitizer.
Status Unshared(const Status& status) {
  return CopyOf(status, status.code(), std::string(status.message()));
}

}  // namespace

EngineLoop::EngineLoop(const EngineOptions& options, std::unique_ptr<ModelRunner> runner,
                       std::vector<int32_t> end_tokens, uint64_t page_bytes)
    : options_(options),
      end_tokens_(std::move(end_tokens)),
      page_bytes_(page_bytes),
      runner_(std::move(runner)),
      pool_(runner_->num_pages()),
      scheduler_(SchedulerOptionsOf(options, *runner_), pool_),
      active_(options.max_sequences),
      steps_(options, scheduler_, *runner_),
      submissions_(options.max_sequences + 1) {  // one for a flush
  ids_in_use_.reserve(options.max_sequences);
  outcomes_.reserve(options.max_batch);
  decoding_.reserve(options.max_batch);
  result_.sequences.reserve(options.max_batch);
  Publish();
  MutexLock lock(stop_mutex_);
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() { Stop(); }

std::span<const PageId> EngineLoop::SelfPages(SequenceId id, uint32_t beam) const {
  return scheduler_.self_pages(id, beam);
}
std::span<const PageId> EngineLoop::CrossPages(SequenceId id) const {
  return scheduler_.cross_pages(id);
}
std::span<const PageId> EngineLoop::DocumentPages(DocumentId id) const {
  return scheduler_.document_pages(id);
}

void EngineLoop::Run() {
  while (Intake()) {
    DropEnded();
    if (!scheduler_.idle()) Step();
    progress_ns_.store(clock_.Now().time_since_epoch().count());
    Publish();
  }
  const Status stopped =
      ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped, "the server is shutting down");
  EndAll(stopped);
  while (auto submission = submissions_.TryPop()) {
    if (submission->queue == nullptr) {
      submission->flushed->set_value();
      continue;
    }
    FinishQueue(*submission->queue, {.reason = FinishReason::kError, .status = stopped});
  }
  Publish();
}

void EngineLoop::EndAll(const Status& status) {
  while (!ids_in_use_.empty()) {
    const SequenceId id = ids_in_use_.back();
    scheduler_.Remove(id);
    Finish(id, FinishReason::kError, status);
  }
  scheduler_.FlushDocuments();
  ForgetDocuments();
}

// After every act of the scheduler that may end documents, and before the next Add().
void EngineLoop::ForgetDocuments() {
  for (const DocumentId id : scheduler_.forgotten()) {
    runner_->LeaveDocument(id);
    documents_.Remove(id);
  }
  scheduler_.ClearForgotten();
}

void EngineLoop::DropEnded() {
  const TimePoint now = clock_.Now();
  for (size_t i = 0; i < ids_in_use_.size();) {
    const SequenceId id = ids_in_use_[i];
    const Active& a = active_[id];
    const bool cancelled = a.queue->cancel_requested();
    const bool late = a.request.deadline && now >= *a.request.deadline;
    if (!cancelled && !late) {
      ++i;
      continue;
    }
    scheduler_.Remove(id);
    Finish(id, cancelled ? FinishReason::kCancelled : FinishReason::kDeadline, OkStatus());
  }
  ForgetDocuments();
}

void EngineLoop::Step() {
  const TimePoint start = clock_.Now();
  const StepPlan& plan = steps_.Next();
  for (const SequenceId id : scheduler_.started()) Admitted(id, start);
  ListDecoding(plan);
  const Status status = runner_->Run(plan, *this, &result_);
  Observe(plan, clock_.Now() - start);
  if (status.ok()) {
    Emit();
  } else {
    ++local_.failed_steps;
    const Status lost = runner_->Check();
    if (!lost.ok()) return GiveUpDevice(plan, lost);
    FailPlan(plan, status);
  }
  ForgetDocuments();
}

// What was read and written lies on a device that is gone: keeping it would save no one work.
void EngineLoop::GiveUpDevice(const StepPlan& plan, const Status& why) {
  spdlog::error("the device has failed, all {} sequences end and no new ones are taken: {}",
                ids_in_use_.size(), std::string(why.message()));
  device_failed_.store(true);
  FailPlan(plan, DeviceFailed());
  ForgetDocuments();
  EndAll(DeviceFailed());
}

void EngineLoop::Admitted(SequenceId id, TimePoint now) {
  Active& a = active_[id];
  a.timings.queue = now - a.submitted;
  const DocumentUse use = scheduler_.document_use(id);
  uint64_t* const counts[] = {&local_.cache_misses, &local_.cache_joins, &local_.cache_hits};
  ++*counts[static_cast<size_t>(use)];
  a.cache_hit = a.own_document && use != DocumentUse::kEncoded;
  Push(a, {TokenEvent::Kind::kStarted, 0, {}, OkStatus(), {}}, now);
  a.queue->Notify();
}

// The first row of each decoding sequence: a sequence's rows are neighbours.
void EngineLoop::ListDecoding(const StepPlan& plan) {
  decoding_.clear();
  for (const DecodeRow& row : plan.decodes) {
    if (row.beam == 0 && row.draft == 0) decoding_.push_back(row.sequence);
    if (row.draft > 0) ++local_.drafted_tokens;
  }
}

// One sequence's step: what it says to the scheduler, and its tokens to its reader.
SequenceOutcome EngineLoop::TakeStep(SequenceId id, const SequenceStep& step, TimePoint now) {
  Active& a = active_[id];
  if (step.failed) return {id, true, {}};
  ObserveToken(a, now);
  if (a.request.options.num_beams > 1) {
    ++a.generated;
    ++local_.generated_tokens;
    if (!step.finished && a.generated % kProgressSteps == 0) {
      const auto searched = static_cast<int32_t>(a.generated);
      Push(a, {TokenEvent::Kind::kProgress, searched, {}, OkStatus(), {}}, now);
      a.queue->Notify();
    }
    return {id, step.finished, step.parents};
  }
  for (const int32_t token : step.tokens) {
    if (!IsEnd(end_tokens_, token)) {
      Push(a, {TokenEvent::Kind::kToken, token, {}, OkStatus(), {}}, now);
    }
  }
  const auto advanced = static_cast<uint32_t>(step.tokens.size());
  a.generated += advanced;
  local_.generated_tokens += advanced;
  local_.accepted_tokens += advanced - 1;
  const bool finished =
      IsEnd(end_tokens_, step.tokens.back()) || a.generated >= a.request.options.max_new_tokens;
  if (!finished) a.queue->Notify();
  return {id, finished, kOnlyBeam, advanced};
}

// Tokens that come together count as one arrival: what a reader sees.
void EngineLoop::ObserveToken(Active& a, TimePoint now) {
  if (a.generated == 0) {
    a.timings.first_token = now - a.submitted;
  } else if (EngineObserver* observer = observer_.load()) {
    observer->OnInterTokenSeconds(Seconds(now - a.last_token));
  }
  a.last_token = now;
}

// Applies the step's tokens and gives them to each sequence's reader.
void EngineLoop::Emit() {
  const TimePoint now = clock_.Now();
  outcomes_.clear();
  for (size_t i = 0; i < decoding_.size(); ++i) {
    outcomes_.push_back(TakeStep(decoding_[i], result_.sequences[i], now));
  }
  scheduler_.Apply(outcomes_);
  for (size_t i = 0; i < outcomes_.size(); ++i) {
    if (outcomes_[i].finished) FinishDecoded(decoding_[i], result_.sequences[i]);
  }
}

void EngineLoop::FinishDecoded(SequenceId id, const SequenceStep& step) {
  if (step.failed) {
    return Finish(id, FinishReason::kError,
                  Internal("the model's output was not finite for this request"));
  }
  FinishReason reason = FinishReason::kEndOfSequence;
  if (active_[id].request.options.num_beams > 1) {
    std::vector<Hypothesis> all = runner_->Hypotheses(id);
    if (!all.empty()) reason = all[0].reason;
    active_[id].queue->SetHypotheses(std::move(all));
  } else if (!IsEnd(end_tokens_, step.tokens.back())) {
    reason = FinishReason::kLength;
  }
  Finish(id, reason, OkStatus());
}

void EngineLoop::FailPlan(const StepPlan& plan, const Status& status) {
  spdlog::error("a step failed, its {} sequences end: {}", decoding_.size() + plan.encodes.size(),
                std::string(status.message()));
  outcomes_.clear();
  for (const SequenceId id : decoding_) outcomes_.push_back({id, true, {}});
  scheduler_.Apply(outcomes_);
  for (const SequenceOutcome& outcome : outcomes_) {
    Finish(outcome.sequence, FinishReason::kError, status);
  }
  for (const EncodeSlice& slice : plan.encodes) {
    for (const SequenceId id : scheduler_.FailDocument(slice.document)) {
      Finish(id, FinishReason::kError, status);
    }
  }
}

void EngineLoop::Push(Active& a, TokenEvent event, TimePoint now) {
  a.timings.total = now - a.submitted;
  event.timings = a.timings;
  event.cache_hit = a.cache_hit;
  a.queue->Push(std::move(event));
}

// The scheduler has already let go of `id`.
void EngineLoop::Finish(SequenceId id, FinishReason reason, const Status& status) {
  runner_->Leave(id);
  ids_in_use_.erase(std::find(ids_in_use_.begin(), ids_in_use_.end(), id));
  Active& a = active_[id];
  const std::shared_ptr<EventQueue> queue = std::move(a.queue);
  a.request = {};
  Publish();  // before the event: whoever sees the end sees the pages given back
  a.timings.total = clock_.Now() - a.submitted;
  FinishQueue(*queue, {.reason = reason,
                       .status = Unshared(status),
                       .timings = a.timings,
                       .cache_hit = a.cache_hit});
}

void EngineLoop::Observe(const StepPlan& plan, Duration step_time) {
  const PlannedEncodes encodes = steps_.Observe(plan, Microseconds(step_time), result_.decode_us);
  StepObservation step;
  step.seconds = Seconds(step_time);
  step.decode_rows = static_cast<uint32_t>(plan.decodes.size());
  step.encode_rows = static_cast<uint32_t>(encodes.rows);
  local_.encoded_tokens += encodes.finished_tokens;
  ++local_.steps;
  if (!plan.decodes.empty()) {
    ++local_.decode_steps;
    local_.decode_rows += plan.decodes.size();
  }
  if (EngineObserver* observer = observer_.load()) observer->OnStep(step);
}

void EngineLoop::Publish() {
  local_.device_failed = device_failed_.load();
  local_.waiting = scheduler_.waiting();
  local_.encoding = scheduler_.encoding();
  local_.decoding = scheduler_.decoding();
  local_.pages_total = pool_.total();
  local_.pages_self = pool_.leased(PageKind::kSelf);
  local_.pages_cached = scheduler_.kept_pages();
  local_.pages_cross = pool_.leased(PageKind::kCross) - local_.pages_cached;
  local_.cached_documents = scheduler_.kept_documents();
  local_.pages_promised = pool_.promised();
  local_.pages_peak = pool_.peak_leased();
  local_.page_bytes = page_bytes_;
  MutexLock lock(stats_mutex_);
  stats_ = local_;
}

}  // namespace precis
