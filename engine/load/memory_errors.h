// Memory that runs out while a model is loaded, wherever that is noticed: in a container of ours,
// in a library, when a thread is started.
//
// Called by those who load. Thread rule: any thread; a function, no state.
#pragma once

#include <new>
#include <string>
#include <system_error>

#include "common/status.h"

namespace precis {

// RESOURCE_EXHAUSTED: that there is not enough memory, what failed, and what there is.
Status NotEnoughMemory(const std::string& what);

inline const Status& StatusOf(const Status& status) { return status; }
template <typename T>
const Status& StatusOf(const StatusOr<T>& loaded) {
  return loaded.status();
}

// What `load` returns, a Status or a StatusOr, or such an error for what it throws.
template <typename Load>
auto WithMemoryErrors(const Load& load) -> decltype(load()) {
  try {
    auto loaded = load();
    const Status& status = StatusOf(loaded);
    if (status.code() != absl::StatusCode::kResourceExhausted) return loaded;
    return NotEnoughMemory(std::string(status.message()));
  } catch (const std::bad_alloc&) {
    return NotEnoughMemory("an allocation failed");
  } catch (const std::system_error& error) {  // of std::thread
    return NotEnoughMemory(std::string("a thread could not be started: ") + error.what());
  }
}

}  // namespace precis
