// Connects to a port of this process as a client would, and sees whether it answers.
//
// Called by the port watch. Thread rule: functions without state.
#pragma once

#include <functional>

#include "common/clock.h"
#include "common/status.h"
#include "server/net/listener.h"

namespace precis {

// OK once HTTP/2 was answered at `target`, or with `tls` the first words of a handshake, which is
// not finished. `expect` receives the client's own address before it connects. UNAVAILABLE says how
// far it came.
Status AskPort(const SocketAddress& target, bool tls, Duration timeout,
               const std::function<void(const SocketAddress&)>& expect);

}  // namespace precis
