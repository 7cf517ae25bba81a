// A small HTTP/1.1 listener: asynchronous, bounded, with one thread. As many clients as it takes
// connections may be silent, slow or gone: another one's request is answered all the same.
// In plain text, for what may be known to who reaches the port.
//
// Owner: who opens it. Thread rule: any thread; handlers run on its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "server/http/http_message.h"

namespace precis {

class HttpListener {
 public:
  // Answers from now on. `address` is host:port or [v6]:port; of a name, all of its addresses; [::]
  // is IPv4, too. `on_drop` is called, on the listener's thread, for each connection that was cut
  // off to make room. The error is UNAVAILABLE, or INVALID_ARGUMENT for no such address.
  static StatusOr<std::unique_ptr<HttpListener>> Open(const std::string& address,
                                                      const HttpLimits& limits,
                                                      std::vector<HttpRoute> routes,
                                                      std::function<void()> on_drop);
  ~HttpListener();  // cuts all connections off, at once

  int port() const;

 private:
  class State;
  explicit HttpListener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace precis
