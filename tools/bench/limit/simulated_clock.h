// A clock that stands until it is advanced. Owner: a simulation. Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cmath>

#include "common/clock.h"

namespace precis {

class SimulatedClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(double seconds) { now_ += Duration(std::llround(seconds * 1e9)); }
  void AdvanceTo(TimePoint at) { now_ = std::max(now_, at); }

 private:
  TimePoint now_;
};

}  // namespace precis
