// A message of the wire to a valid request of the engine: every cheap refusal, each naming its
// field.
//
// Called by the reactors, before a place in the queue is asked for. Thread rule: no state.
#pragma once

#include <string>

#include "common/status.h"
#include "engine/request/summarizer.h"
#include "engine/request/valid_request.h"
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

// INVALID_ARGUMENT, NOT_FOUND or UNIMPLEMENTED, naming the field. The request is `client`'s to the
// engine, and has no higher priority than that client gets. Its deadline is not set.
StatusOr<ValidRequest> ToRequest(const RequestView& view, const Client& client,
                                 Summarizer& summarizer, const ServerOptions& options);

}  // namespace precis
