#include "engine/run/summary_call.h"

#include <utility>

#include "fmt/format.h"

namespace precis {

TextCall::TextCall(const Context& context, SummarizeRequest request, ResolvedOptions options,
                   std::shared_ptr<SummaryListener> listener)
    : context_(context),
      request_(std::move(request)),
      listener_(std::move(listener)),
      stops_(options.options.stop) {
  summary_.warnings = options.warnings;
  summary_.effective = std::move(options);
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
  // Woken meanwhile: queue up again behind the others.
  if (wakeups_.fetch_sub(seen) != seen) {
    context_.pool->Add([self = shared_from_this()] { self->RunWakeups(); });
  }
}

void TextCall::Process() {
  if (state_ == State::kNew) {
    if (cancelled_.load()) {
      Finish(absl::CancelledError("cancelled by the client"));
      return;
    }
    if (const Status status = Begin(); !status.ok()) {
      Finish(status);
      return;
    }
    state_ = State::kRunning;
    listener_->OnAccepted(summary_.source_tokens);
  }
  if (state_ == State::kRunning) {
    if (cancelled_.load()) handle_.Cancel();
    Drain();
  }
}

StatusOr<std::vector<int32_t>> TextCall::SourceIds() {
  if (auto* ids = std::get_if<std::vector<int32_t>>(&request_.source)) return std::move(*ids);
  std::string text = summary_.effective.options.prefix + std::get<std::string>(request_.source);
  request_.source = std::string();  // the text is not needed any more
  auto ids = context_.tokenizer.Encode(text);
  if (!ids.ok()) return FieldError("text", std::string(ids.status().message()));
  ids->push_back(context_.engine.info().eos_token_id);
  if (ids->size() == 1) return FieldError("text", "holds nothing but white space");
  const uint32_t limit = context_.engine.options().max_source_tokens;
  if (ids->size() > limit) {
    return FieldTooLarge("text", fmt::format("has {} tokens, the limit is {} (--max-source-tokens)",
                                             ids->size(), limit));
  }
  return std::move(*ids);
}

Status TextCall::Begin() {
  PRECIS_ASSIGN_OR_RETURN(std::vector<int32_t> ids, SourceIds());
  summary_.source_tokens = static_cast<uint32_t>(ids.size());
  const uint32_t positions = context_.engine.info().n_positions;
  if (positions != 0 && ids.size() > positions) {
    summary_.warnings.push_back(
        fmt::format("the source has {} tokens, more than the {} positions of the model's training",
                    ids.size(), positions));
  }
  SequenceRequest request;
  request.source_ids = std::move(ids);
  request.options = summary_.effective.options;
  request.deadline = request_.deadline;
  request.listener = shared_from_this();
  PRECIS_ASSIGN_OR_RETURN(handle_, context_.engine.Submit(std::move(request)));
  decoder_.emplace(context_.tokenizer);
  text_.token_ids.reserve(summary_.effective.options.max_new_tokens);
  return OkStatus();
}

void TextCall::Drain() {
  while (state_ == State::kRunning) {
    const std::optional<TokenEvent> event = handle_.Poll();
    if (!event) return;
    summary_.timings = event->timings;
    switch (event->kind) {
      case TokenEvent::Kind::kStarted:
        listener_->OnStarted();
        break;
      case TokenEvent::Kind::kToken:
        OnToken(event->token);
        break;
      case TokenEvent::Kind::kFinished:
        if (event->reason == FinishReason::kError) {
          Finish(event->status);
        } else {
          End(event->reason);
        }
        break;
    }
  }
}

void TextCall::OnToken(int32_t token) {
  text_.token_ids.push_back(token);
  Deliver(stops_.Push(decoder_->Push(token)));
  if (stops_.stopped()) {
    handle_.Cancel();
    End(FinishReason::kStopString);
  }
}

void TextCall::Deliver(const std::string& text) {
  if (text.empty()) return;
  text_.text += text;
  listener_->OnDelta(0, text);
}

void TextCall::End(FinishReason reason) {
  if (reason == FinishReason::kCancelled) {
    Finish(absl::CancelledError("cancelled by the client"));
    return;
  }
  if (reason == FinishReason::kDeadline) {
    Finish(absl::DeadlineExceededError("the deadline passed before the summary was finished"));
    return;
  }
  if (summary_.effective.options.num_beams > 1) return EndBeams();
  if (reason != FinishReason::kStopString) {
    Deliver(stops_.Push(decoder_->Finish()));
    if (stops_.stopped()) {
      reason = FinishReason::kStopString;
    } else {
      Deliver(stops_.Finish());
    }
  }
  text_.finish_reason = reason;
  summary_.generated_tokens = static_cast<uint32_t>(text_.token_ids.size());
  summary_.sequences.push_back(std::move(text_));
  Finish(std::move(summary_));
}

// Nothing was streamed: a beam search knows its texts at the end.
void TextCall::EndBeams() {
  for (const Hypothesis& h : handle_.hypotheses()) {
    SummaryText text;
    StopMatcher stops(summary_.effective.options.stop);
    text.text = stops.Push(context_.tokenizer.Decode(h.tokens));
    if (!stops.stopped()) text.text += stops.Finish();
    text.finish_reason = stops.stopped() ? FinishReason::kStopString : h.reason;
    text.token_ids = h.tokens;
    text.score = h.score;
    summary_.generated_tokens += static_cast<uint32_t>(h.tokens.size());
    summary_.sequences.push_back(std::move(text));
  }
  Finish(std::move(summary_));
}

void TextCall::Finish(StatusOr<Summary> summary) {
  state_ = State::kDone;
  handle_ = {};
  const std::shared_ptr<SummaryListener> listener = std::move(listener_);
  listener->OnFinished(std::move(summary));
  context_.on_gone(this);
}

}  // namespace precis
