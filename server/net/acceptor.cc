#include "server/net/acceptor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "server/net/tcp_progress.h"

namespace precis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The gauge is at most so old.
constexpr milliseconds kLook{1000};
// gRPC reads some 30 MB of headers a second: a flood is noticed a megabyte late. With many
// connections it is looked less often, which costs at most half a hundredth of a core.
constexpr milliseconds kFloodLook{25};
constexpr size_t kConnectionsPerMs = 4;
// At the limit, whether one has gone is not asked more often.
constexpr milliseconds kSweepPause{5};
constexpr seconds kTellPause{10};
// Of one listening socket in a row, so that the others get their turn.
constexpr int kBatch = 64;
// What was sent and not acknowledged for so long ends a connection: its machine is gone.
constexpr unsigned kUnacknowledgedMs = 20'000;

// What connections are counted by: an IPv4 address, or the /64 that an IPv6 client has to itself.
std::string AddressOf(const SocketAddress& peer) {
  if (peer.family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&peer.storage);
    return {reinterpret_cast<const char*>(&in->sin_addr), sizeof(in->sin_addr)};
  }
  if (peer.family() != AF_INET6) return {};
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&peer.storage);
  const auto* bytes = reinterpret_cast<const char*>(&in6->sin6_addr);
  if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) return {bytes + 12, 4};
  return {bytes, 8};
}

// Address and port; an IPv4 address is the same whether or not it comes to a socket of both
// families.
std::string Whole(const SocketAddress& address) {
  if (address.family() == AF_UNIX) {
    return {reinterpret_cast<const char*>(&address.storage), address.size};
  }
  // Both families have the port in the same place.
  const uint16_t port = reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port;
  return AddressOf(address) + std::to_string(port);
}

Descriptor OpenSpare() { return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Acceptor::Acceptor(Listener listener, ConnectionLimits limits, std::string option,
                   ServerMetrics* metrics, Take take)
    : listener_(std::move(listener)),
      limits_(limits),
      option_(std::move(option)),
      metrics_(metrics),
      port_(listener_.port()),
      local_(listener_.local()),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_(OpenSpare()),
      hand_over_(std::move(take)) {
  PRECIS_CHECK(bool(wake_));  // at start, before any client
  thread_ = std::thread([this] { Loop(); });
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  PRECIS_CHECK(write(wake_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
  hand_over_.Close();
  listener_.Close();
}

void Acceptor::Expect(const SocketAddress& address) {
  MutexLock lock(mutex_);
  expected_ = Whole(address);
}

bool Acceptor::IsOwn(const SocketAddress& peer) {
  MutexLock lock(mutex_);
  if (expected_.empty() || expected_ != Whole(peer)) return false;
  expected_.clear();
  return true;
}

void Acceptor::Loop() {
  std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  for (const Descriptor& socket : listener_.sockets()) {
    polled.push_back({.fd = socket.get(), .events = POLLIN, .revents = 0});
  }
  while (true) {
    const bool watches = !open_.empty() && limits_.unanswered_bytes != 0;
    milliseconds pause = kLook;
    if (watches) pause = kFloodLook + milliseconds(open_.size() / kConnectionsPerMs);
    if (hand_over_.Busy()) pause = std::min(pause, HandOver::kPatience);
    poll(polled.data(), polled.size(), static_cast<int>(pause.count()));
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) AcceptAll(polled[i].fd);
    }
    hand_over_.Loosen();
    const auto now = std::chrono::steady_clock::now();
    if (watches && now - flood_looked_ >= kFloodLook) {
      flood_looked_ = now;
      CutFloods();
    }
    if (now - swept_ >= kLook) Sweep();
  }
}

void Acceptor::AcceptAll(int listening) {
  for (int i = 0; i < kBatch; ++i) {
    SocketAddress peer;
    Descriptor fd(accept4(listening, peer.get(), &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      const bool exhausted =
          errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      // Others, as ECONNABORTED, are about one connection.
      if (exhausted && !DropOneWithoutDescriptors(listening)) {
        std::this_thread::sleep_for(milliseconds(20));
        return;
      }
      continue;
    }
    TakeIn(std::move(fd), peer);
  }
}

void Acceptor::TakeIn(Descriptor fd, const SocketAddress& peer) {
  const std::string address = AddressOf(peer);
  const bool own = IsOwn(peer);
  const Verdict verdict = own ? Verdict::kTake : Judge(address);
  if (verdict != Verdict::kTake) {
    return Refuse(verdict == Verdict::kFull ? RefusedConnection::kFull
                                            : RefusedConnection::kAddressFull);
  }
  const auto identity = SocketIdentity::Of(fd.get());
  SocketAddress there;
  // Who has left already is no error, as it would be to gRPC.
  if (!identity || getpeername(fd.get(), there.get(), &there.size) != 0) return;
  if (peer.family() != AF_UNIX) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs,
               sizeof(kUnacknowledgedMs));
  }
  if (!own) {
    open_.push_back({.socket = *identity, .address = address});
    ++of_address_[address];
  }
  hand_over_.Add(std::move(fd));
}

Acceptor::Verdict Acceptor::Judge(const std::string& address) {
  const auto judge = [&] {
    if (open_.size() >= limits_.total) return Verdict::kFull;
    // All clients of a unix socket look alike.
    const auto found = of_address_.find(address);
    const bool full = found != of_address_.end() && found->second >= limits_.per_address;
    return full && !address.empty() ? Verdict::kAddressFull : Verdict::kTake;
  };
  const Verdict verdict = judge();
  if (verdict == Verdict::kTake) return verdict;
  if (std::chrono::steady_clock::now() - swept_ < kSweepPause) return verdict;
  Sweep();
  return judge();
}

void Acceptor::Sweep() {
  swept_ = std::chrono::steady_clock::now();
  std::erase_if(open_, [this](const Open& open) {
    if (open.socket.IsOpen()) return false;
    const auto found = of_address_.find(open.address);
    if (--found->second == 0) of_address_.erase(found);
    return true;
  });
  if (metrics_ != nullptr) metrics_->SetConnections(open_.size());
}

void Acceptor::CutFloods() {
  for (Open& open : open_) {
    const std::optional<TcpProgress> now = ReadTcpProgress(open.socket.fd);
    if (!now) continue;
    // Less than before: the number is another socket's by now, which the next sweep sees.
    if (now->sent != open.sent || now->received < open.received) {
      open.sent = now->sent;
      open.received = now->received;
    }
    if (now->received - open.received <= limits_.unanswered_bytes) continue;
    // gRPC sees the end of the connection and closes it.
    const Descriptor own = open.socket.Hold();
    if (!own) continue;
    const linger reset{.l_onoff = 1, .l_linger = 0};  // the kernel keeps nothing for it, either
    setsockopt(own.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    shutdown(own.get(), SHUT_RDWR);
    open.received = now->received;
    Refuse(RefusedConnection::kFlood);
  }
}

void Acceptor::Refuse(RefusedConnection why) {
  if (metrics_ != nullptr) metrics_->CountRefusedConnection(why);
  ++untold_;
  const auto now = std::chrono::steady_clock::now();
  if (told_ != TimePoint{} && now - told_ < kTellPause) return;
  told_ = now;
  switch (why) {
    case RefusedConnection::kFull:
      spdlog::warn("{}: {} connections were closed at once: {} are open, the limit", option_,
                   untold_, limits_.total);
      break;
    case RefusedConnection::kAddressFull:
      spdlog::warn("{}: {} connections were closed at once: one address has {}, its limit", option_,
                   untold_, limits_.per_address);
      break;
    case RefusedConnection::kFlood:
      spdlog::warn(
          "{}: {} connections were cut: {} bytes came from one that was owed no answer, which are "
          "headers without end (or uploads beyond --max-unanswered-bytes)",
          option_, untold_, limits_.unanswered_bytes);
      break;
    case RefusedConnection::kDescriptors:
      spdlog::error("{}: {} connections were closed at once: the process has no descriptors left",
                    option_, untold_);
      break;
  }
  untold_ = 0;
}

bool Acceptor::DropOneWithoutDescriptors(int listening) {
  if (!spare_) spare_ = OpenSpare();
  if (!spare_) return false;
  spare_.Reset();
  Descriptor dropped(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  if (dropped) Refuse(RefusedConnection::kDescriptors);
  dropped.Reset();
  spare_ = OpenSpare();
  return true;
}

}  // namespace precis
