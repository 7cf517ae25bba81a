// Asks a running server for its health: the check of a container.
//
// Called by main. Thread rule: any thread; waits up to `timeout`.
#pragma once

#include "common/clock.h"
#include "common/status.h"
#include "server/config/options.h"

namespace precis {

// OK when the server at --health-listen, or at --listen where that is not set, says SERVING. With
// TLS it takes whatever certificate is shown: it asks its own machine, and sends nothing that is
// secret. Where clients need a certificate it shows the server's own.
Status ProbeHealth(const ServerOptions& options, Duration timeout);

}  // namespace precis
