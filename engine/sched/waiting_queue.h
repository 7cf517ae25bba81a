// In which order waiting sequences are admitted: by priority, then by fair shares of the tenants
// (start-time fair queueing: Goyal, Vin and Cheng 1996), then by arrival. Ids and costs only.
//
// Owner: the scheduler. Thread rule: the step thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "engine/sched/priority.h"
#include "engine/sched/step_plan.h"

namespace precis {

// Whose a sequence is: requests of one tenant wait in order, tenants take turns by cost.
using TenantId = uint32_t;

class WaitingQueue {
 public:
  struct Place {
    TenantId tenant = 0;
    Priority priority = Priority::kNormal;
    uint64_t cost = 1;  // source tokens + beams x new tokens
  };

  // A class whose first was passed `max_passes` times by higher classes has the next turn.
  explicit WaitingQueue(uint32_t max_passes) : max_passes_(max_passes) {}

  void Add(SequenceId id, const Place& place);
  // Requires that `id` is in the queue, at `place`.
  void Remove(SequenceId id, const Place& place);

  // Who is next; none when empty. Stays so until it is taken or removed, or a higher class passes
  // it: a tenant that comes later does not go before a sequence that was found to lack pages.
  std::optional<SequenceId> head() const;
  // The head leaves the queue: it was admitted.
  void TakeHead();

  uint32_t size() const { return size_; }
  uint64_t cost() const { return cost_; }  // of all that wait

 private:
  struct Entry {
    SequenceId id;
    uint64_t cost;
  };
  struct Tenant {
    TenantId id;
    uint64_t finish = 0;  // virtual time at which its last admitted sequence ends
    std::deque<Entry> entries;
  };
  struct Class {
    std::vector<Tenant> tenants;
    std::optional<TenantId> next;  // who has the turn; chosen once, until it is taken
    uint64_t now = 0;              // virtual time: the start of what was admitted last
    uint32_t waiting = 0;
    uint32_t passes = 0;  // admissions of higher classes since the first of this one came up
  };

  static Tenant& Find(Class& c, TenantId id);
  static void ChooseTenant(Class& c);
  void ForgetIdleTenants(Class& c);
  size_t NextClass() const;

  const uint32_t max_passes_;
  Class classes_[kNumPriorities];
  uint32_t size_ = 0;
  uint64_t cost_ = 0;
};

}  // namespace precis
