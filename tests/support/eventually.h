// Waiting for what another thread does.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace precis {

// Waits until `done`; false after half a minute.
inline bool Eventually(const std::function<bool()>& done) {
  for (int i = 0; i < 15000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

}  // namespace precis
