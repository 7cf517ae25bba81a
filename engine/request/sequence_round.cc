#include "engine/request/sequence_round.h"

#include <algorithm>
#include <utility>

namespace precis {

SequenceRound::SequenceRound(const Tokenizer& tokenizer, const GenerationOptions& options,
                             size_t count, size_t max_in_flight, MakeRequest make)
    : tokenizer_(tokenizer),
      options_(options),
      count_(count),
      max_in_flight_(max_in_flight),
      make_(std::move(make)) {
  readers_.reserve(count);
}

Status SequenceRound::Submit(Engine& engine) {
  while (submitted() < count_ && in_flight() < max_in_flight_) {
    PRECIS_ASSIGN_OR_RETURN(SequenceHandle handle, engine.Submit(make_(submitted())));
    readers_.emplace_back(tokenizer_, options_, std::move(handle));
  }
  return OkStatus();
}

Status SequenceRound::Read(const OnText& on_text) {
  Status failure;
  for (size_t i = 0; i < readers_.size(); ++i) {
    SequenceReader& reader = readers_[i];
    if (reader.ended()) continue;
    if (const std::string text = reader.Read(); !text.empty()) on_text(i, text);
    if (!reader.ended()) continue;
    ++ended_;
    if (failure.ok()) failure = reader.status();
  }
  return failure;
}

void SequenceRound::Cancel() {
  for (SequenceReader& reader : readers_) reader.Cancel();
}

bool SequenceRound::started() const {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const SequenceReader& reader) { return reader.started(); });
}

}  // namespace precis
