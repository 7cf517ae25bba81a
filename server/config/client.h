// Who calls, as far as the server can tell, and how much of the server that client may use.
//
// Made by the authenticator, carried by the CallContext. Thread rule: values, no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/status.h"
#include "engine/engine.h"

namespace precis {

struct ClientLimits {
  uint64_t requests = 0;           // accepted and unfinished; 0: no limit of its own
  uint64_t tokens_per_second = 0;  // of cost: source and beams x new tokens; 0: no limit
  uint64_t burst = 0;              // tokens saved up while it is quiet; 0: ten seconds' worth
  Priority max_priority = Priority::kHigh;  // highest that it gets, whatever it asks for
  Duration max_timeout{0};                  // its longest deadline; 0: the server's

  bool counts() const { return requests != 0 || tokens_per_second != 0; }
  bool operator==(const ClientLimits&) const = default;
};

// Words `key=value`, as in the file of --auth-tokens and in --client-limits; what they do not say
// stays as in `base`.
StatusOr<ClientLimits> ParseClientLimits(std::string_view words, const ClientLimits& base);
// What differs from no limits at all; ParseClientLimits reads it back.
std::string FormatClientLimits(const ClientLimits& limits);

struct Client {
  // "token:NAME" or "certificate:SUBJECT": the engine's principal. Empty: no one in particular.
  std::string name;
  // Whose share a request counts as: the name, or the address of who has none.
  std::string account;
  ClientLimits limits;
};

}  // namespace precis
