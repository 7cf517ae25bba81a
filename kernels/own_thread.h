// A thread for work that calls a backend once, such as loading. OpenMP gives every thread that
// opens a parallel region a team of its own, which lives as long as the thread does; and where the
// teams of a process are together larger than the machine, libgomp's threads hardly wait for the
// next region before they sleep, which made decode steps of small models twice as slow. So only one
// thread may be left that calls a backend: the step thread.
//
// Thread rule: any thread; it waits for the other.
#pragma once

#include <exception>
#include <optional>
#include <thread>
#include <utility>

namespace precis {

// What `work` returns, or throws.
template <typename Work>
auto OnOwnThread(Work work) {
  std::optional<decltype(work())> result;
  std::exception_ptr thrown;
  std::thread thread([&] {
    try {
      result.emplace(work());
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  thread.join();
  if (thrown != nullptr) std::rethrow_exception(thrown);
  return *std::move(result);
}

}  // namespace precis
