// Short ids of the principals whose requests come; an id is never given twice.
//
// Owner: the engine loop. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "engine/sched/waiting_queue.h"

namespace precis {

class TenantIds {
 public:
  // Certificates can name any number of principals: beyond `capacity` the half that has not come
  // for longest is forgotten. One that comes again is new: its cached documents are not found.
  explicit TenantIds(size_t capacity) : capacity_(capacity) {}

  TenantId Of(const std::string& principal);
  size_t size() const { return known_.size(); }

 private:
  struct Known {
    TenantId id;
    uint64_t last_use;
  };

  void ForgetOldest();

  const size_t capacity_;
  std::unordered_map<std::string, Known> known_;
  uint64_t uses_ = 0;
  TenantId next_ = 0;
};

}  // namespace precis
