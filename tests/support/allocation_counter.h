// Counts calls of operator new by our code in a process that links allocation_counter.cc, which
// replaces the operators. What oneDNN allocates inside itself is told apart by the caller's
// address.
#pragma once

#include <cstdint>
#include <functional>

namespace precis {

// Allocations of ours, on any thread, while `act` runs.
uint64_t CountAllocations(const std::function<void()>& act);

}  // namespace precis
