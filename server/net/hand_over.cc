#include "server/net/hand_over.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <utility>

namespace precis {
namespace {

// When it closes, a `take` that what was dropped did not end is shut down.
constexpr std::chrono::seconds kLastPatience{1};

// Drops the segments that carry bytes, before TCP sees them. What is no longer than a header with
// timestamps passes: acknowledgements and resets.
void DropWhatComes(int fd) {
  constexpr uint32_t kHeader = 32;
  constexpr uint32_t kWhole = 0xffffffff;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kHeader, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, kWhole),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

void TakeWhatComes(int fd) {
  const int none = 0;
  setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
}

}  // namespace

std::optional<SocketIdentity> SocketIdentity::Of(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return std::nullopt;
  return SocketIdentity{.fd = fd, .inode = info.st_ino};
}

bool SocketIdentity::IsOpen() const {
  struct stat info {};
  return fstat(fd, &info) == 0 && info.st_ino == inode && S_ISSOCK(info.st_mode);
}

Descriptor SocketIdentity::Hold() const {
  Descriptor own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (own && !SocketIdentity{.fd = own.get(), .inode = inode}.IsOpen()) own.Reset();
  return own;
}

HandOver::HandOver(std::function<void(int fd)> take) : take_(std::move(take)) {
  thread_ = std::thread([this] { Run(); });
}

void HandOver::Add(Descriptor fd) {
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    waiting_.push_back(std::move(fd));
  }
  changed_.NotifyAll();
}

bool HandOver::Busy() {
  MutexLock lock(mutex_);
  return under_way_ || !waiting_.empty();
}

void HandOver::Loosen() {
  MutexLock lock(mutex_);
  if (!under_way_ || dropping_ || std::chrono::steady_clock::now() - since_ < kPatience) return;
  const Descriptor own = under_way_->Hold();
  if (!own) return;
  DropWhatComes(own.get());
  dropping_ = true;
}

void HandOver::Run() {
  while (true) {
    Descriptor next;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !closed_) changed_.Wait(mutex_);
      if (closed_) return;
      next = std::move(waiting_.front());
      waiting_.pop_front();
      under_way_ = SocketIdentity::Of(next.get());
      since_ = std::chrono::steady_clock::now();
    }
    take_(next.Release());
    {
      MutexLock lock(mutex_);
      if (dropping_) {
        if (const Descriptor own = under_way_->Hold(); own) TakeWhatComes(own.get());
      }
      dropping_ = false;
      under_way_.reset();
    }
    changed_.NotifyAll();
  }
}

void HandOver::Close() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    waiting_.clear();
  }
  changed_.NotifyAll();
  const TimePoint begin = std::chrono::steady_clock::now();
  while (Busy()) {
    Loosen();
    MutexLock lock(mutex_);
    if (!under_way_) break;
    if (std::chrono::steady_clock::now() - begin > kLastPatience) {
      if (const Descriptor own = under_way_->Hold(); own) shutdown(own.get(), SHUT_RDWR);
    }
    changed_.WaitFor(mutex_, kPatience);
  }
  thread_.join();
}

}  // namespace precis
