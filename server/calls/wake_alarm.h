// Calls a stream again after a while, once however often it is asked.
//
// Owner: the stream. Thread rule: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "grpcpp/alarm.h"

namespace precis {

class WakeAlarm {
 public:
  // `owner` has this alarm; nothing is called when it is gone by then.
  template <typename Owner>
  void Set(Duration wait, std::weak_ptr<Owner> owner, void (Owner::*wake)()) {
    if (is_set_.exchange(true)) return;
    const auto when = std::chrono::system_clock::now() +
                      std::chrono::ceil<std::chrono::system_clock::duration>(wait);
    alarm_.Set(when, [this, owner = std::move(owner), wake](bool) {
      const auto alive = owner.lock();
      if (alive == nullptr) return;
      is_set_.store(false);
      (alive.get()->*wake)();
    });
  }

 private:
  grpc::Alarm alarm_;
  std::atomic<bool> is_set_{false};
};

}  // namespace precis
