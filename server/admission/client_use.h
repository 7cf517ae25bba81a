// What each client has under way, and what its rate has saved up: a token bucket, whose tokens are
// those of the cost that the queue counts. A client with any credit may send, whatever the request
// costs; the cost is taken from the credit, which may fall below zero, and the client then waits.
//
// Owner: the admission, under its lock. Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "server/config/client.h"

namespace precis {

class ClientUse {
 public:
  // Limits may differ from those of last time: tokens were reloaded.
  void Update(const ClientLimits& limits, TimePoint now);
  bool HasPlace(uint64_t places = 1) const {
    return limits_.requests == 0 || requests_ + places <= limits_.requests;
  }
  // How long until its rate lets it send again; 0: now.
  Duration UntilCredit() const;

  void Begin(uint64_t tokens) {
    ++requests_;
    Charge(0, tokens);
  }
  void Charge(uint64_t from, uint64_t to) {
    credit_ += static_cast<double>(from) - static_cast<double>(to);
  }
  void End() { --requests_; }

  uint64_t requests() const { return requests_; }
  const ClientLimits& limits() const { return limits_; }
  // Nothing would be lost by forgetting it.
  bool IsIdle(TimePoint now);

 private:
  double Most() const;  // credit that can be saved up

  ClientLimits limits_;
  uint64_t requests_ = 0;
  double credit_ = 0;
  TimePoint as_of_{};
};

struct ClientCount {
  std::string account;
  uint64_t requests = 0;
};

// By account, in a bounded number: accounts of addresses come and go.
class ClientUses {
 public:
  // Null where nothing is to be counted. The place stays as long as it is not idle.
  ClientUse* Of(const Client& client, TimePoint now);
  std::vector<ClientCount> UnderWay() const;
  size_t size() const { return uses_.size(); }

 private:
  std::unordered_map<std::string, ClientUse> uses_;
  TimePoint swept_{};
};

}  // namespace precis
