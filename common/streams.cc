#include "common/streams.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace precis {
namespace {

constexpr std::chrono::seconds kErrorPatience{1};

}  // namespace

void OpenStandardStreams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // Those below it are open: it is the lowest, which open() takes.
    if (open("/dev/null", O_RDWR | O_NOCTTY) == -1) return;
  }
}

void UnblockStderr() {
  struct stat status {};
  if (fstat(STDERR_FILENO, &status) != 0) return;
  if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) return;
  const int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (own == -1) return;
  dup2(own, STDERR_FILENO);
  close(own);
}

StreamWriter::StreamWriter(int fd) : fd_(fd), kind_(Kind::kBlocking) {
  struct stat status {};
  if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) {
    kind_ = Kind::kSocket;
  } else if (const int flags = fcntl(fd, F_GETFL); flags != -1 && (flags & O_NONBLOCK) != 0) {
    kind_ = Kind::kNonBlocking;
  }
}

bool StreamWriter::WaitForRoom(Duration timeout) const {
  pollfd asked{.fd = fd_, .events = POLLOUT, .revents = 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  // An error is no reason to wait: the next write says which.
  return poll(&asked, 1, static_cast<int>(ms)) > 0;
}

ssize_t StreamWriter::WritePiece(std::string_view bytes) const {
  switch (kind_) {
    case Kind::kSocket:
      return send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    case Kind::kNonBlocking:
      return write(fd_, bytes.data(), bytes.size());
    case Kind::kBlocking:
      break;
  }
  if (!WaitForRoom(Duration(0))) {
    errno = EAGAIN;
    return -1;
  }
  // A pipe that has room has it for so many bytes.
  return write(fd_, bytes.data(), std::min<size_t>(bytes.size(), PIPE_BUF));
}

ssize_t StreamWriter::WriteSome(std::string_view bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = WritePiece(bytes.substr(done));
    if (wrote >= 0) {
      done += static_cast<size_t>(wrote);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return static_cast<ssize_t>(done);
}

void WriteError(std::string_view line) {
  const StreamWriter writer(STDERR_FILENO);
  const auto end = std::chrono::steady_clock::now() + kErrorPatience;
  for (;;) {
    const ssize_t wrote = writer.WriteSome(line);
    if (wrote < 0) return;
    line.remove_prefix(static_cast<size_t>(wrote));
    const auto left = end - std::chrono::steady_clock::now();
    if (line.empty() || left <= Duration(0) || !writer.WaitForRoom(left)) return;
  }
}

}  // namespace precis
