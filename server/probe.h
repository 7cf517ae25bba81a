// Asks a running server for its health: the check of a container.
//
// Called by main. Thread rule: any thread; waits up to `timeout`.
#pragma once

#include "common/clock.h"
#include "common/status.h"
#include "server/options.h"

namespace precis {

// OK when the server at --health-listen, or at --listen where that is not set, says SERVING.
Status ProbeHealth(const ServerOptions& options, Duration timeout);

}  // namespace precis
