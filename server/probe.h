// Asks a running server for its health: the check of a container.
//
// Called by main. Thread rule: any thread; waits up to `timeout`.
#pragma once

#include <string>

#include "common/clock.h"
#include "common/status.h"

namespace precis {

// OK when the server at `address` (as of --listen) says SERVING.
Status ProbeHealth(const std::string& address, Duration timeout);

}  // namespace precis
