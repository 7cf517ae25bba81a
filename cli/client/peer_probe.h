// Whether a server that could not be talked to speaks TLS: gRPC's errors about it say "Socket
// closed" and the like. Owner: a command. Thread rule: one thread; it blocks for at most two
// seconds.
#pragma once

#include <string>

namespace precis::cli {

enum class PeerSpeech { kTls, kPlain, kUnknown };

// Connects to host:port, [address]:port or unix:PATH, says a TLS hello and looks at the first bytes
// that come back: of a TLS record, or of HTTP/2. kUnknown for all else.
PeerSpeech AskPeer(const std::string& server);

// A line for a call that got no answer: that the server speaks TLS and we did not, or the other
// way round. Empty where that is not so. `encrypted`: what we did.
std::string TlsMismatch(const std::string& server, bool encrypted);

}  // namespace precis::cli
