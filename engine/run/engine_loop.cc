#include "engine/run/engine_loop.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "fmt/format.h"

namespace precis {
namespace {

// Encoder work a step may hold while nothing decodes: enough to fill a batch with short documents,
// short enough that cancellation and shutdown stay prompt.
constexpr double kIdleEncodeUs = 50'000;
constexpr double kAverageWeight = 0.1;  // of the newest step in the moving average

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options, const ModelRunner& runner) {
  SchedulerOptions s;
  s.max_sequences = options.max_sequences;
  s.max_batch = options.max_batch;
  s.self_slots = runner.self_slots();
  s.cross_slots = runner.cross_slots();
  s.encode_shape = runner.encode_shape();
  s.encode_costs = runner.encode_costs();
  return s;
}

SequenceSpec SpecOf(const SequenceRequest& request) {
  return {static_cast<uint32_t>(request.source_ids.size()), request.options.max_new_tokens,
          request.options.num_beams};
}

}  // namespace

EngineLoop::EngineLoop(const EngineOptions& options, std::unique_ptr<ModelRunner> runner,
                       int32_t eos_token_id, uint64_t page_bytes)
    : options_(options),
      eos_token_id_(eos_token_id),
      page_bytes_(page_bytes),
      runner_(std::move(runner)),
      pool_(runner_->num_pages()),
      scheduler_(MakeSchedulerOptions(options, *runner_), pool_),
      active_(options.max_sequences),
      submissions_(options.max_sequences) {
  ids_in_use_.reserve(options.max_sequences);
  outcomes_.reserve(options.max_batch);
  decoding_.reserve(options.max_batch);
  result_.sequences.reserve(options.max_batch);
  Publish();
  MutexLock lock(stop_mutex_);
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() { Stop(); }

bool EngineLoop::CountIn() {
  uint32_t n = unfinished_.load();
  do {
    if (n >= options_.max_sequences) return false;
  } while (!unfinished_.compare_exchange_weak(n, n + 1));
  if (n == 0) progress_ns_.store(clock_.Now().time_since_epoch().count());
  return true;
}

StatusOr<std::shared_ptr<EventQueue>> EngineLoop::Submit(SequenceRequest request) {
  const uint32_t worst = scheduler_.WorstCasePages(SpecOf(request));
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

std::span<const PageId> EngineLoop::SelfPages(SequenceId id, uint32_t beam) const {
  return scheduler_.self_pages(id, beam);
}
std::span<const PageId> EngineLoop::CrossPages(SequenceId id) const {
  return scheduler_.cross_pages(id);
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
  while (!ids_in_use_.empty()) {
    const SequenceId id = ids_in_use_.back();
    scheduler_.Remove(id);
    Finish(id, FinishReason::kError, stopped);
  }
  while (auto submission = submissions_.TryPop()) {
    FinishQueue(*submission->queue, FinishReason::kError, stopped, {});
  }
  Publish();
}

bool EngineLoop::Intake() {
  if (scheduler_.idle()) {
    auto submission = submissions_.Pop();
    if (!submission) return false;
    if (stopping_.load()) {
      FinishQueue(*submission->queue, FinishReason::kError,
                  ReasonError(absl::StatusCode::kUnavailable, Reason::kStopped,
                              "the server is shutting down"),
                  {});
      return false;
    }
    Join(*std::move(submission));
  }
  while (auto submission = submissions_.TryPop()) Join(*std::move(submission));
  return !stopping_.load();
}

void EngineLoop::Join(Submission submission) {
  const SequenceId id = scheduler_.Add(SpecOf(submission.request));
  Active& a = active_[id];
  a.request = std::move(submission.request);
  a.queue = std::move(submission.queue);
  a.submitted = submission.submitted;
  a.last_token = {};
  a.timings = {};
  a.generated = 0;
  ids_in_use_.push_back(id);
  runner_->Join(id, {a.request.source_ids, &a.request.options, a.request.options.max_new_tokens});
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
}

void EngineLoop::Step() {
  const TimePoint start = clock_.Now();
  const bool decodes = scheduler_.decoding() > 0;
  const double encode_us = decodes ? options_.encode_budget * decode_us_ : kIdleEncodeUs;
  const StepPlan& plan = scheduler_.Schedule({encode_us});
  for (const SequenceId id : scheduler_.started()) {
    Active& a = active_[id];
    a.timings.queue = start - a.submitted;
    Push(a, {TokenEvent::Kind::kStarted, 0, {}, OkStatus(), {}}, start);
    a.queue->Notify();
  }
  ListDecoding(plan);
  const Status status = runner_->Run(plan, *this, &result_);
  Observe(plan, clock_.Now() - start);
  if (status.ok()) {
    Emit();
  } else {
    FailPlan(plan, status);
  }
}

// The first row of each decoding sequence: a sequence's rows are neighbours.
void EngineLoop::ListDecoding(const StepPlan& plan) {
  decoding_.clear();
  for (const DecodeRow& row : plan.decodes) {
    if (row.beam == 0) decoding_.push_back(row.sequence);
  }
}

// One sequence's step: what it says to the scheduler, and its token to its reader.
SequenceOutcome EngineLoop::TakeStep(SequenceId id, const SequenceStep& step, TimePoint now) {
  Active& a = active_[id];
  if (step.failed) return {id, true, {}};
  ++a.generated;
  if (a.generated == 1) {
    a.timings.first_token = now - a.submitted;
  } else if (EngineObserver* observer = observer_.load()) {
    observer->OnInterTokenSeconds(Seconds(now - a.last_token));
  }
  a.last_token = now;
  if (a.request.options.num_beams > 1) return {id, step.finished, step.parents};
  const bool eos = step.token == eos_token_id_;
  const bool finished = eos || a.generated >= a.request.options.max_new_tokens;
  if (!eos) Push(a, {TokenEvent::Kind::kToken, step.token, {}, OkStatus(), {}}, now);
  if (!finished) a.queue->Notify();
  return {id, finished, kOnlyBeam};
}

// Applies the step's tokens and tells each sequence's reader.
void EngineLoop::Emit() {
  const TimePoint now = clock_.Now();
  outcomes_.clear();
  for (size_t i = 0; i < decoding_.size(); ++i) {
    outcomes_.push_back(TakeStep(decoding_[i], result_.sequences[i], now));
  }
  local_.generated_tokens += decoding_.size();
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
  } else if (step.token != eos_token_id_) {
    reason = FinishReason::kLength;
  }
  Finish(id, reason, OkStatus());
}

void EngineLoop::FailPlan(const StepPlan& plan, const Status& status) {
  spdlog::error("a step failed, its {} sequences end: {}", decoding_.size() + plan.encodes.size(),
                std::string(status.message()));
  outcomes_.clear();
  for (const SequenceId id : decoding_) outcomes_.push_back({id, true, {}});
  std::vector<SequenceId> encoding;
  for (const EncodeSlice& slice : plan.encodes) encoding.push_back(slice.sequence);
  scheduler_.Apply(outcomes_);
  for (const SequenceOutcome& outcome : outcomes_) {
    Finish(outcome.sequence, FinishReason::kError, status);
  }
  for (const SequenceId id : encoding) {
    scheduler_.Remove(id);
    Finish(id, FinishReason::kError, status);
  }
}

void EngineLoop::Push(Active& a, TokenEvent event, TimePoint now) {
  a.timings.total = now - a.submitted;
  event.timings = a.timings;
  a.queue->Push(std::move(event));
}

void EngineLoop::FinishQueue(EventQueue& queue, FinishReason reason, Status status,
                             const SequenceTimings& timings) {
  // Before the event: whoever sees the end may submit again at once.
  unfinished_.fetch_sub(1);
  queue.Push({TokenEvent::Kind::kFinished, 0, reason, std::move(status), timings});
  queue.Notify();
}

// The scheduler has already let go of `id`.
void EngineLoop::Finish(SequenceId id, FinishReason reason, Status status) {
  runner_->Leave(id);
  ids_in_use_.erase(std::find(ids_in_use_.begin(), ids_in_use_.end(), id));
  Active& a = active_[id];
  const std::shared_ptr<EventQueue> queue = std::move(a.queue);
  a.request = {};
  Publish();  // before the event: whoever sees the end sees the pages given back
  a.timings.total = clock_.Now() - a.submitted;
  FinishQueue(*queue, reason, std::move(status), a.timings);
}

void EngineLoop::Observe(const StepPlan& plan, Duration step_time) {
  StepObservation step;
  step.seconds = Seconds(step_time);
  step.decode_rows = static_cast<uint32_t>(plan.decodes.size());
  const EncodeShape shape = runner_->encode_shape();
  for (const EncodeSlice& slice : plan.encodes) {
    const uint32_t tokens = scheduler_.source_tokens(slice.sequence);
    for (uint32_t i = slice.begin_item; i < slice.end_item; ++i) {
      const EncodeItem item = EncodeItemAt(shape, tokens, i);
      step.encode_rows += item.row_end - item.row_begin;
    }
    if (slice.last) local_.encoded_tokens += tokens;
  }
  ++local_.steps;
  if (!plan.decodes.empty()) {
    ++local_.decode_steps;
    local_.decode_rows += plan.decodes.size();
    const double us = result_.decode_us;
    decode_us_ = decode_us_ == 0 ? us : decode_us_ + kAverageWeight * (us - decode_us_);
  }
  if (EngineObserver* observer = observer_.load()) observer->OnStep(step);
}

void EngineLoop::Publish() {
  local_.waiting = scheduler_.waiting();
  local_.encoding = scheduler_.encoding();
  local_.decoding = scheduler_.decoding();
  local_.pages_total = pool_.total();
  local_.pages_self = pool_.leased(PageKind::kSelf);
  local_.pages_cross = pool_.leased(PageKind::kCross);
  local_.pages_promised = pool_.promised();
  local_.pages_peak = pool_.peak_leased();
  local_.page_bytes = page_bytes_;
  MutexLock lock(stats_mutex_);
  stats_ = local_;
}

}  // namespace precis
