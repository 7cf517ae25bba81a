// Takes connections and passes them on, never more than a limit at once, in all and of one address;
// what is above is closed at once. Running out of descriptors closes a connection, not the port.
// One that sends and sends, and gets nothing back, is cut: HTTP/2 answers data with permission for
// more, headers with nothing, and gRPC 1.51 would keep them all. docs/decisions/own_acceptor.md
// says why this is not gRPC's.
//
// Owner: a server or a port. Thread rule: has two threads of its own; Stop and Expect from any.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "server/net/connection_limits.h"
#include "server/net/hand_over.h"
#include "server/net/listener.h"
#include "server/observe/metrics.h"

namespace precis {

class Acceptor {
 public:
  // Owns the socket from then on, and closes it itself: that is how the acceptor learns of the end.
  // It may keep its thread while bytes come: others are accepted and served meanwhile.
  using Take = std::function<void(int fd)>;

  // Accepts from now on. `metrics` may be null. `option` is named in the log.
  Acceptor(Listener listener, ConnectionLimits limits, std::string option, ServerMetrics* metrics,
           Take take);
  ~Acceptor() { Stop(); }

  // Nothing is passed on afterwards and the address is free; connections stay. Idempotent.
  void Stop();

  // The next connection from `address` is the server's own, beyond all limits.
  void Expect(const SocketAddress& address);

  int port() const { return port_; }
  const SocketAddress& local() const { return local_; }

 private:
  // A socket that was passed on.
  struct Open {
    SocketIdentity socket;
    std::string address;
    uint64_t sent = 0;      // bytes that we had sent when last looked at,
    uint64_t received = 0;  // and that had come by then
  };

  void Loop();
  void AcceptAll(int listening);
  void TakeIn(Descriptor fd, const SocketAddress& peer);
  enum class Verdict { kTake, kFull, kAddressFull };
  Verdict Judge(const std::string& address);
  void Sweep();
  void CutFloods();
  void Refuse(RefusedConnection why);
  // False when there is nothing to give up.
  bool DropOneWithoutDescriptors(int listening);
  bool IsOwn(const SocketAddress& peer);

  Listener listener_;
  const ConnectionLimits limits_;
  const std::string option_;
  ServerMetrics* const metrics_;
  const int port_;
  const SocketAddress local_;
  Descriptor wake_;
  // Of the thread.
  Descriptor spare_;  // given up to accept, and close, one more when there are no descriptors
  std::vector<Open> open_;
  std::map<std::string, uint32_t> of_address_;
  TimePoint swept_{};
  TimePoint flood_looked_{};
  TimePoint told_{};
  uint64_t untold_ = 0;

  Mutex mutex_;
  std::string expected_ PRECIS_GUARDED_BY(mutex_);
  HandOver hand_over_;
  std::thread thread_;
};

}  // namespace precis
