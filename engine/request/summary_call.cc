#include "engine/request/summary_call.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace precis {
namespace {

// Windows of one document in the engine at a time: they share a batch, and leave room for others.
constexpr size_t kWindowsInFlight = 8;
// Rounds of windows: the document, and twice the summaries of windows.
constexpr uint32_t kMaxSplits = 3;

bool IsQueueFull(const Status& status) { return ReasonOf(status) == Reason::kQueueFull; }

ReadingPlanner::Limits LimitsOf(const Engine& engine) {
  return {engine.options().max_source_tokens, engine.info().n_positions,
          engine.info().encoder.max_positions};
}

}  // namespace

TextCall::TextCall(const Context& context, ValidRequest request,
                   std::shared_ptr<SummaryListener> listener)
    : context_(context),
      planner_(context.tokenizer, LimitsOf(context.engine)),
      request_(std::move(request)),
      listener_(std::move(listener)) {
  summary_.effective = request_.options();
  summary_.warnings = summary_.effective.warnings;
  summary_.long_document_policy = request_.long_document_policy();
  summary_.priority = request_.priority();
}

void TextCall::Wake() {
  if (wakeups_.fetch_add(1) > 0) return;  // already queued or running
  context_.pool->Add([self = shared_from_this()] { self->RunWakeups(); });
}

void TextCall::Cancel() {
  cancelled_.store(true);
  Wake();
}

void TextCall::RunWakeups() {
  const uint32_t seen = wakeups_.load();
  Process();
  // Woken meanwhile: queue up again after the others.
  if (wakeups_.fetch_sub(seen) != seen) {
    context_.pool->Add([self = shared_from_this()] { self->RunWakeups(); });
  }
}

void TextCall::Process() {
  if (state_ == State::kDone) return;
  CheckEnd();
  if (state_ == State::kNew && failure_.ok()) Begin();
  while (state_ != State::kDone) {
    if (!failure_.ok()) {
      if (round_) round_->Cancel();
      if (round_) Read();
      // Given away, not shared: a status counts its holders inside abseil, unseen by
      // ThreadSanitizer.
      if (!round_ || round_->in_flight() == 0) Finish(std::exchange(failure_, OkStatus()));
      return;
    }
    const size_t ended = round_->ended();
    Submit();
    Read();
    if (!failure_.ok()) continue;
    if (round_->Done()) {
      if (state_ == State::kWindows) {
        EndWindows();
      } else {
        EndSummary();
      }
    } else if (round_->ended() == ended) {
      return;
    }
  }
}

void TextCall::CheckEnd() {
  if (cancelled_.load()) return Fail(absl::CancelledError("cancelled by the client"));
  if (round_ && round_->in_flight() > 0) return;
  if (request_.deadline() && clock_.Now() >= *request_.deadline()) {
    Fail(absl::DeadlineExceededError("the deadline passed before the summary was finished"));
  }
}

StatusOr<ReadingPlan> TextCall::PlanSource() {
  Source source = request_.TakeSource();
  if (auto* ids = std::get_if<std::vector<int32_t>>(&source)) {
    frame_ = planner_.FrameOf(*ids);
    return planner_.PlanIds(std::move(*ids), request_.long_document_policy());
  }
  prefix_ = summary_.effective.options.prefix;
  return planner_.PlanText(std::get<std::string>(source), prefix_, request_.long_document_policy());
}

void TextCall::Begin() {
  StatusOr<ReadingPlan> plan = PlanSource();
  if (!plan.ok()) return Fail(plan.status());
  summary_.source_tokens = plan->source_tokens;
  summary_.source_tokens_dropped = plan->source_tokens_dropped;
  summary_.windows = static_cast<uint32_t>(plan->passages.size());
  begin_ = clock_.Now();
  StartRound(*std::move(plan));
}

void TextCall::StartRound(ReadingPlan plan) {
  summary_.warnings.insert(summary_.warnings.end(), plan.warnings.begin(), plan.warnings.end());
  passages_ = std::move(plan.passages);
  const GenerationOptions& options = summary_.effective.options;
  const bool windows = passages_.size() > 1;
  const size_t samples = options.Samples() ? options.num_return_sequences : 1;
  if (windows) ++splits_;
  state_ = windows ? State::kWindows : State::kSummary;
  round_begin_ = clock_.Now();
  round_.emplace(context_.tokenizer, options, windows ? passages_.size() : samples,
                 windows ? kWindowsInFlight : samples,
                 [this](size_t index) { return MakeRequest(index); });
}

// Every sequence of the call is made here.
SequenceRequest TextCall::MakeRequest(size_t index) {
  const bool window = state_ == State::kWindows;
  SequenceRequest request;
  request.source_ids = passages_[window ? index : 0];
  request.sequence_index = window ? 0 : static_cast<uint32_t>(index);
  request.options = summary_.effective.options;
  if (window) request.options.num_return_sequences = 1;  // the best one goes on
  request.deadline = request_.deadline();
  request.principal = request_.principal();
  request.priority = request_.priority();
  request.listener = shared_from_this();
  return request;
}

Status TextCall::TrySubmit() {
  const Status status = round_->Submit(context_.engine);
  if (round_->submitted() > 0 && !accepted_) {
    accepted_ = true;
    listener_->OnAccepted(summary_.source_tokens);
    if (summary_.windows > 1) listener_->OnWindows(0, summary_.windows);
  }
  return status;
}

void TextCall::Submit() {
  Status status = TrySubmit();
  // The summarizer takes no more calls than the engine has places, so a full engine is full of
  // other calls' windows and samples: it is waited for, by the end of one of its own sequences,
  // else of any other call's.
  if (IsQueueFull(status)) {
    if (round_->in_flight() > 0) return;
    context_.waiting.Add([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Wake();
    });
    status = TrySubmit();
    if (IsQueueFull(status)) return;
  }
  if (!status.ok()) Fail(status);
}

void TextCall::Read() {
  const size_t ended = round_->ended();
  const Status status = round_->Read([this](size_t index, const std::string& text) {
    if (state_ != State::kSummary) return;
    NoteStarted();
    listener_->OnDelta(static_cast<uint32_t>(index), text);
  });
  NoteStarted();
  NoteSearched();
  if (round_->ended() != ended) {
    context_.waiting.WakeAll();
    if (splits_ == 1 && state_ == State::kWindows) {
      listener_->OnWindows(static_cast<uint32_t>(round_->ended()), summary_.windows);
    }
  }
  if (!status.ok()) Fail(status);
}

void TextCall::NoteStarted() {
  if (started_ || !round_->started()) return;
  started_ = true;
  listener_->OnStarted();
}

void TextCall::NoteSearched() {
  if (state_ != State::kSummary || round_->submitted() == 0) return;
  const uint32_t searched = round_->readers()[0].searched_tokens();
  if (searched == searched_) return;
  searched_ = searched;
  listener_->OnSearched(searched);
}

// Of the source itself: samples come after the first, merges are not documents.
void TextCall::NoteCacheHits() {
  if (splits_ > (state_ == State::kWindows ? 1 : 0)) return;
  const std::vector<SequenceReader>& readers = round_->readers();
  const size_t count = state_ == State::kWindows ? readers.size() : 1;
  summary_.cache_hit = std::all_of(readers.begin(), readers.begin() + static_cast<ptrdiff_t>(count),
                                   [](const SequenceReader& reader) { return reader.cache_hit(); });
}

void TextCall::EndWindows() {
  NoteCacheHits();
  if (splits_ == 1) summary_.timings.queue = round_->readers()[0].timings().queue;
  std::string joined;
  for (SequenceReader& reader : round_->readers()) {
    for (const SummaryText& text : reader.TakeTexts()) {
      summary_.generated_tokens += static_cast<uint32_t>(text.token_ids.size());
      if (context_.tokenizer.IsBlank(text.text)) continue;
      if (!joined.empty()) joined += ' ';
      joined += text.text;
    }
  }
  if (joined.empty()) return EndBlank();
  auto plan = planner_.PlanMerge(joined, prefix_, frame_, splits_ < kMaxSplits);
  if (!plan.ok()) return Fail(plan.status());
  StartRound(*std::move(plan));
}

// Out of nothing the model would make something up.
void TextCall::EndBlank() {
  summary_.warnings.emplace_back("the model wrote nothing about any window");
  summary_.sequences.resize(summary_.effective.options.num_return_sequences);
  summary_.timings.first_token = summary_.timings.total = clock_.Now() - begin_;
  Finish(std::move(summary_));
}

void TextCall::EndSummary() {
  NoteCacheHits();
  for (SequenceReader& reader : round_->readers()) {
    AddTimings(reader.timings());
    for (SummaryText& text : reader.TakeTexts()) {
      summary_.generated_tokens += static_cast<uint32_t>(text.token_ids.size());
      summary_.sequences.push_back(std::move(text));
    }
  }
  WarnOfFewer();
  Finish(std::move(summary_));
}

// A search ends with fewer hypotheses where the options leave it no others.
void TextCall::WarnOfFewer() {
  const uint32_t asked = summary_.effective.options.num_return_sequences;
  if (summary_.sequences.size() >= asked) return;
  summary_.warnings.push_back(
      fmt::format("{} sequences were asked for, and with these options only {} {} possible", asked,
                  summary_.sequences.size(), summary_.sequences.size() == 1 ? "is" : "are"));
}

// Of the samples: the first token of any, the last of all. What windows took counts before it.
void TextCall::AddTimings(const SequenceTimings& t) {
  const Duration before = splits_ > 0 ? round_begin_ - begin_ : Duration{};
  SequenceTimings& out = summary_.timings;
  const bool first = summary_.sequences.empty();
  if (splits_ == 0) out.queue = first ? t.queue : std::min(out.queue, t.queue);
  const Duration first_token = before + t.first_token;
  out.first_token = first ? first_token : std::min(out.first_token, first_token);
  out.total = std::max(out.total, before + t.total);
}

void TextCall::Fail(const Status& why) {
  if (failure_.ok()) failure_ = why;
}

void TextCall::Finish(StatusOr<Summary> summary) {
  state_ = State::kDone;
  round_.reset();
  const std::shared_ptr<SummaryListener> listener = std::move(listener_);
  listener->OnFinished(std::move(summary));
  context_.on_gone(this);
}

}  // namespace precis
