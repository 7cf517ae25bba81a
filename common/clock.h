// Time as an argument: what needs the time gets a Clock, and tests pass their own.
// Thread rule: Now() may be called from any thread.
#pragma once

#include <chrono>

namespace precis {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

inline double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline double Microseconds(Duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

}  // namespace precis
