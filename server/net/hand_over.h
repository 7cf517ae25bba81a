// Gives accepted sockets to gRPC on a thread of its own. gRPC 1.51 may go on reading from a socket
// on the thread that hands it over, for as long as more has come: then what comes is dropped for a
// moment (TCP sends it again), so that the next socket gets its turn.
// docs/decisions/own_acceptor.md.
//
// Owner: Acceptor. Thread rule: Add, Loosen and Close by the acceptor's threads; has its own.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <optional>
#include <thread>

#include "common/clock.h"
#include "common/descriptor.h"
#include "common/mutex.h"

namespace precis {

// A socket that another owns by now. Descriptors are used again, inodes are not: so it is known
// whether it is still open.
struct SocketIdentity {
  int fd = -1;
  ino_t inode = 0;

  // Nothing when `fd` is none.
  static std::optional<SocketIdentity> Of(int fd);
  bool IsOpen() const;
  // A number of our own, so that what is changed is what was looked at; none when it is closed.
  Descriptor Hold() const;
};

class HandOver {
 public:
  // `take` owns the socket from then on. It may keep the thread; it returns when nothing comes.
  explicit HandOver(std::function<void(int fd)> take);
  ~HandOver() { Close(); }

  void Add(Descriptor fd);
  // Lets go of a `take` that has lasted too long. Call it every kPatience while Busy().
  void Loosen();
  bool Busy();
  // Closes what waits, and waits for the one under way; one that does not end is shut down.
  // Idempotent.
  void Close();

  static constexpr std::chrono::milliseconds kPatience{25};

 private:
  void Run();

  const std::function<void(int fd)> take_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Descriptor> waiting_ PRECIS_GUARDED_BY(mutex_);
  std::optional<SocketIdentity> under_way_ PRECIS_GUARDED_BY(mutex_);
  TimePoint since_ PRECIS_GUARDED_BY(mutex_){};  // of `under_way_`
  bool dropping_ PRECIS_GUARDED_BY(mutex_) = false;
  bool closed_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
