// Addresses to listen on: host:port, [v6]:port or unix:PATH.
//
// Called at start and by the probe. Thread rule: functions without state.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace precis {

// INVALID_ARGUMENT when it is none of the three forms.
Status CheckAddress(std::string_view address);
// Only processes of this machine can reach it.
bool IsLoopback(std::string_view address);
// Where a client on this machine finds a server listening there: 0.0.0.0 becomes 127.0.0.1.
std::string ClientTarget(std::string_view address);
// Whether a server answers at a unix socket. gRPC would take its path away from it.
bool UnixSocketIsTaken(std::string_view address);

}  // namespace precis
