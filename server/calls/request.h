// A message of the wire to a request of the engine: every cheap refusal, each naming its field.
//
// Called by the reactors, before a place in the queue is asked for. Thread rule: no state.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "engine/engine.h"
#include "engine/request/summarizer.h"
#include "precis/v1/summarization.pb.h"
#include "server/config/client.h"
#include "server/config/options.h"

namespace precis {

// What the three requests have in common; pointers into the message.
struct RequestView {
  const std::string* model = nullptr;
  const std::string* adapter = nullptr;
  const std::string* text = nullptr;  // one of text and token_ids, or neither
  const precis::v1::TokenIds* token_ids = nullptr;
  const precis::v1::GenerationOptions* options = nullptr;
};

template <typename Message>
RequestView ViewOf(const Message& message) {
  return {.model = &message.model(),
          .adapter = &message.adapter(),
          .text = message.has_text() ? &message.text() : nullptr,
          .token_ids = message.has_token_ids() ? &message.token_ids() : nullptr,
          .options = &message.options()};
}

// INVALID_ARGUMENT, NOT_FOUND or UNIMPLEMENTED, naming the field. The deadline is not set.
StatusOr<SummarizeRequest> ToRequest(const RequestView& view, const Engine& engine,
                                     const ServerOptions& options);

// Whose request it is, to the engine, and no higher priority than that client gets.
void ApplyClientLimits(const Client& client, SummarizeRequest* request);

// Most tokens that the request may generate, of all its beams or samples.
uint64_t NewTokens(const SummarizeRequest& request, const Engine& engine);

// What the queue counts: source tokens and new tokens. Source tokens are exact for ids and about
// right for text, since nothing is tokenized yet.
uint64_t EstimateCost(const SummarizeRequest& request, const Engine& engine);

}  // namespace precis
