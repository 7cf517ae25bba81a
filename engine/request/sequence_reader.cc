#include "engine/request/sequence_reader.h"

#include <optional>
#include <utility>

namespace precis {

SequenceReader::SequenceReader(const Tokenizer& tokenizer, const GenerationOptions& options,
                               SequenceHandle handle)
    : tokenizer_(tokenizer),
      options_(options),
      handle_(std::move(handle)),
      decoder_(tokenizer),
      stops_(options.stop) {
  text_.token_ids.reserve(options.max_new_tokens);
}

std::string SequenceReader::Read() {
  std::string added;
  while (!ended_) {
    const std::optional<TokenEvent> event = handle_.Poll();
    if (!event) break;
    if (!stops_.stopped()) timings_ = event->timings;
    cache_hit_ = event->cache_hit;
    switch (event->kind) {
      case TokenEvent::Kind::kStarted:
        started_ = true;
        break;
      case TokenEvent::Kind::kToken:
        added += OnToken(event->token);
        break;
      case TokenEvent::Kind::kProgress:
        searched_tokens_ = static_cast<uint32_t>(event->token);
        break;
      case TokenEvent::Kind::kFinished:
        ended_ = true;
        added += OnFinished(*event);
        break;
    }
  }
  return added;
}

std::string SequenceReader::OnToken(int32_t token) {
  if (stops_.stopped()) return {};  // until the engine has seen that we cancelled
  text_.token_ids.push_back(token);
  std::string added = stops_.Push(decoder_.Push(token));
  if (stops_.stopped()) handle_.Cancel();
  text_.text += added;
  return added;
}

std::string SequenceReader::OnFinished(const TokenEvent& event) {
  text_.finish_reason = event.reason;
  if (stops_.stopped()) {  // it was complete before the engine ended it
    text_.finish_reason = FinishReason::kStopString;
    return {};
  }
  switch (event.reason) {
    case FinishReason::kError:
      status_ = event.status;
      return {};
    case FinishReason::kCancelled:
      status_ = absl::CancelledError("cancelled by the client");
      return {};
    case FinishReason::kDeadline:
      status_ = absl::DeadlineExceededError("the deadline passed before the summary was finished");
      return {};
    default:
      break;
  }
  if (options_.num_beams > 1) return {};
  std::string added = stops_.Push(decoder_.Finish());
  if (stops_.stopped()) {
    text_.finish_reason = FinishReason::kStopString;
  } else {
    added += stops_.Finish();
  }
  text_.text += added;
  return added;
}

std::vector<SummaryText> SequenceReader::TakeTexts() {
  std::vector<SummaryText> out;
  if (options_.num_beams == 1) {
    out.push_back(std::move(text_));
    return out;
  }
  for (const Hypothesis& h : handle_.hypotheses()) {
    SummaryText& text = out.emplace_back();
    StopMatcher stops(options_.stop);
    text.text = stops.Push(tokenizer_.Decode(h.tokens));
    if (!stops.stopped()) text.text += stops.Finish();
    text.finish_reason = stops.stopped() ? FinishReason::kStopString : h.reason;
    text.token_ids = h.tokens;
    text.score = h.score;
  }
  return out;
}

}  // namespace precis
