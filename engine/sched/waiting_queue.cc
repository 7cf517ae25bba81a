#include "engine/sched/waiting_queue.h"

#include <algorithm>

#include "common/check.h"

namespace precis {

WaitingQueue::Tenant& WaitingQueue::Find(Class& c, TenantId id) {
  const auto at = std::find_if(c.tenants.begin(), c.tenants.end(),
                               [id](const Tenant& tenant) { return tenant.id == id; });
  PRECIS_CHECK(at != c.tenants.end());
  return *at;
}

// The tenant whose first sequence starts earliest in virtual time; the one that came first among
// equals.
void WaitingQueue::ChooseTenant(Class& c) {
  const Tenant* best = nullptr;
  for (const Tenant& tenant : c.tenants) {
    if (tenant.entries.empty()) continue;
    if (best == nullptr || std::max(c.now, tenant.finish) < std::max(c.now, best->finish)) {
      best = &tenant;
    }
  }
  c.next.reset();
  if (best != nullptr) c.next = best->id;
}

// One that has used no more than its share is like one that was never here.
void WaitingQueue::ForgetIdleTenants(Class& c) {
  std::erase_if(c.tenants, [&c](const Tenant& tenant) {
    return tenant.entries.empty() && tenant.finish <= c.now;
  });
}

void WaitingQueue::Add(SequenceId id, const Place& place) {
  Class& c = classes_[static_cast<size_t>(place.priority)];
  const bool known = std::any_of(c.tenants.begin(), c.tenants.end(),
                                 [&](const Tenant& tenant) { return tenant.id == place.tenant; });
  if (!known) c.tenants.push_back({place.tenant, 0, {}});
  Find(c, place.tenant).entries.push_back({id, place.cost});
  ++c.waiting;
  ++size_;
  cost_ += place.cost;
  if (!c.next) ChooseTenant(c);
}

void WaitingQueue::Remove(SequenceId id, const Place& place) {
  Class& c = classes_[static_cast<size_t>(place.priority)];
  Tenant& tenant = Find(c, place.tenant);
  const size_t removed =
      std::erase_if(tenant.entries, [id](const Entry& entry) { return entry.id == id; });
  PRECIS_CHECK(removed == 1);
  --c.waiting;
  --size_;
  cost_ -= place.cost;
  if (c.waiting == 0) c.passes = 0;
  if (tenant.entries.empty()) {
    if (c.next == place.tenant) ChooseTenant(c);
    ForgetIdleTenants(c);
  }
}

// The highest class that has a sequence waiting, unless a lower one was passed often enough.
size_t WaitingQueue::NextClass() const {
  for (size_t i = kNumPriorities; i > 0; --i) {
    if (classes_[i - 1].waiting > 0 && classes_[i - 1].passes >= max_passes_) return i - 1;
  }
  size_t i = 0;
  while (classes_[i].waiting == 0) ++i;
  return i;
}

std::optional<SequenceId> WaitingQueue::head() const {
  if (size_ == 0) return std::nullopt;
  const Class& c = classes_[NextClass()];
  for (const Tenant& tenant : c.tenants) {
    if (tenant.id == c.next) return tenant.entries.front().id;
  }
  PRECIS_CHECK(false);
}

void WaitingQueue::TakeHead() {
  PRECIS_CHECK(size_ > 0);
  const size_t index = NextClass();
  Class& c = classes_[index];
  Tenant& tenant = Find(c, *c.next);
  const Entry entry = tenant.entries.front();
  tenant.entries.pop_front();
  c.now = std::max(c.now, tenant.finish);
  tenant.finish = c.now + entry.cost;
  --c.waiting;
  --size_;
  cost_ -= entry.cost;
  c.passes = 0;
  for (size_t lower = index + 1; lower < kNumPriorities; ++lower) {
    if (classes_[lower].waiting > 0) ++classes_[lower].passes;
  }
  ForgetIdleTenants(c);
  ChooseTenant(c);
}

}  // namespace precis
