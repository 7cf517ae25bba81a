// Connections up to a limit, in all and of one address; what becomes of those above, and of the
// port when the process has no descriptors left.
#include "server/net/acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "engine/api/model_info.h"
#include "gtest/gtest.h"
#include "server/net/wire.h"
#include "server/observe/metrics.h"
#include "tests/support/eventually.h"

namespace precis {
namespace {

// What a server keeps of an acceptor's connections.
class Kept {
 public:
  void Take(int fd) {
    MutexLock lock(mutex_);
    fds_.emplace_back(fd);
  }
  size_t size() {
    MutexLock lock(mutex_);
    return fds_.size();
  }
  void CloseAll() {
    MutexLock lock(mutex_);
    fds_.clear();
  }
  // Reads what has come, and sends a byte for it or nothing.
  void Read(bool answer) {
    MutexLock lock(mutex_);
    char bytes[4096];
    for (const Descriptor& fd : fds_) {
      bool got = false;
      while (recv(fd.get(), bytes, sizeof(bytes), 0) > 0) got = true;
      if (got && answer) {
        EXPECT_EQ(send(fd.get(), "a", 1, MSG_NOSIGNAL), 1);
      }
    }
  }

 private:
  Mutex mutex_;
  std::vector<Descriptor> fds_ PRECIS_GUARDED_BY(mutex_);
};

class AcceptorTest : public testing::Test {
 protected:
  void Start(ConnectionLimits limits, const std::string& address = "127.0.0.1:0") {
    StartWith(limits, address, [this](int fd) { kept_.Take(fd); });
  }
  void StartWith(ConnectionLimits limits, const std::string& address, Acceptor::Take take) {
    auto listener = Listener::Open(address, "--listen");
    ASSERT_TRUE(listener.ok()) << listener.status();
    acceptor_ = std::make_unique<Acceptor>(*std::move(listener), limits, "--listen", &metrics_,
                                           std::move(take));
  }
  // From 127.0.0.`last`: all of 127.0.0.0/8 is this machine's.
  Descriptor Connect(int last = 1) {
    Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(0x7f000000u + static_cast<unsigned>(last));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)), 0);
    const SocketAddress& to = acceptor_->local();
    EXPECT_EQ(connect(fd.get(), to.get(), to.size), 0);
    return fd;
  }
  // Whether the other side has closed it; waits for that as long as it takes.
  static bool IsClosed(const Descriptor& fd) {
    pollfd polled{.fd = fd.get(), .events = POLLIN, .revents = 0};
    char byte = 0;
    return poll(&polled, 1, 30'000) == 1 && recv(fd.get(), &byte, 1, 0) <= 0;
  }
  bool Holds(size_t count) {
    return Eventually([&] { return kept_.size() == count; });
  }
  double Value(const std::string& name, const std::string& label = "") {
    for (const auto& family : metrics_.registry()->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        if (!label.empty() && metric.label.at(0).value != label) continue;
        return family.type == prometheus::MetricType::Counter ? metric.counter.value
                                                              : metric.gauge.value;
      }
    }
    return -1;
  }

  ServerMetrics metrics_{ModelInfo()};
  Kept kept_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, TakesSoManyAndClosesTheNextAtOnce) {
  Start({.total = 3, .per_address = 3});
  std::vector<Descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  ASSERT_TRUE(Holds(3));
  EXPECT_TRUE(IsClosed(Connect()));
  EXPECT_EQ(Value("precis_refused_connections_total", "full"), 1);
  EXPECT_EQ(kept_.size(), 3u);
  EXPECT_TRUE(Eventually([&] { return Value("precis_connections") == 3; }));
}

TEST_F(AcceptorTest, APlaceIsFreeAgainWhenItsOwnerClosesIt) {
  Start({.total = 3, .per_address = 3});
  std::vector<Descriptor> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  ASSERT_TRUE(Holds(3));
  kept_.CloseAll();
  // The descriptors' numbers are used again, by others: these are not connections.
  std::vector<Descriptor> others;
  for (int i = 0; i < 10; ++i) others.emplace_back(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_TRUE(Eventually([&] { return Value("precis_connections") == 0; }));
  clients.clear();
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  EXPECT_TRUE(Holds(3));
}

TEST_F(AcceptorTest, OneAddressDoesNotGetThePlacesOfAnother) {
  Start({.total = 4, .per_address = 2});
  const Descriptor a = Connect(1), b = Connect(1);
  ASSERT_TRUE(Holds(2));
  EXPECT_TRUE(IsClosed(Connect(1)));
  EXPECT_EQ(Value("precis_refused_connections_total", "address_full"), 1);
  const Descriptor c = Connect(2);
  EXPECT_TRUE(Holds(3));
}

TEST_F(AcceptorTest, ClientsOfAUnixSocketAreNotOneAddress) {
  const std::string path = testing::TempDir() + "/precis_acceptor_test.sock";
  Start({.total = 3, .per_address = 1}, "unix:" + path);
  std::vector<Descriptor> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(socket(AF_UNIX, SOCK_STREAM, 0));
    const SocketAddress& to = acceptor_->local();
    ASSERT_EQ(connect(clients.back().get(), to.get(), to.size), 0);
  }
  EXPECT_TRUE(Holds(3));
}

TEST_F(AcceptorTest, TheServersOwnConnectionIsBeyondTheLimits) {
  Start({.total = 1, .per_address = 1});
  const Descriptor client = Connect();
  ASSERT_TRUE(Holds(1));
  const Descriptor own(socket(AF_INET, SOCK_STREAM, 0));
  SocketAddress from;
  from.size = sizeof(sockaddr_in);
  auto* in = reinterpret_cast<sockaddr_in*>(&from.storage);
  in->sin_family = AF_INET;
  in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(own.get(), from.get(), from.size), 0);
  ASSERT_EQ(getsockname(own.get(), from.get(), &from.size), 0);
  acceptor_->Expect(from);
  const SocketAddress& to = acceptor_->local();
  ASSERT_EQ(connect(own.get(), to.get(), to.size), 0);
  EXPECT_TRUE(Holds(2));
}

// Until there are none: a descriptor each.
std::vector<Descriptor> TakeAllDescriptors() {
  std::vector<Descriptor> out;
  while (true) {
    Descriptor fd(dup(0));
    if (!fd) return out;
    out.push_back(std::move(fd));
  }
}

TEST_F(AcceptorTest, HearsAgainAfterTheProcessHadNoDescriptors) {
  Start({.total = 100, .per_address = 100});
  const Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  {
    const std::vector<Descriptor> all = TakeAllDescriptors();
    const SocketAddress& to = acceptor_->local();
    ASSERT_EQ(connect(client.get(), to.get(), to.size), 0);
    EXPECT_TRUE(IsClosed(client)) << "closed, not left in the dark";
    EXPECT_TRUE(
        Eventually([&] { return Value("precis_refused_connections_total", "descriptors") >= 1; }));
  }
  const Descriptor next = Connect();
  EXPECT_TRUE(Holds(1));
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(AcceptorTest, CutsWhoSendsAndIsOwedNothingBack) {
  Start({.total = 3, .per_address = 3, .unanswered_bytes = 1u << 20});
  const Descriptor client = Connect();
  ASSERT_TRUE(Holds(1));
  const std::string bytes(1u << 16, 'h');
  size_t sent = 0;
  EXPECT_TRUE(Eventually([&] {
    kept_.Read(/*answer=*/false);
    const ssize_t took =
        send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (took < 0) return errno != EAGAIN;
    sent += static_cast<size_t>(took);
    return false;
  }));
  EXPECT_GT(sent, 1u << 20);
  EXPECT_EQ(Value("precis_refused_connections_total", "flood"), 1);
}

TEST_F(AcceptorTest, LeavesAloneWhoGetsAnswers) {
  Start({.total = 3, .per_address = 3, .unanswered_bytes = 1u << 20});
  const Descriptor client = Connect();
  ASSERT_TRUE(Holds(1));
  const std::string bytes(1u << 16, 'd');
  size_t sent = 0;
  EXPECT_TRUE(Eventually([&] {
    kept_.Read(/*answer=*/true);
    const ssize_t took =
        send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (took > 0) sent += static_cast<size_t>(took);
    return sent > 20u << 20 || (took < 0 && errno != EAGAIN);
  }));
  EXPECT_GT(sent, 20u << 20) << "it was cut";
  EXPECT_EQ(Value("precis_refused_connections_total", "flood"), 0);
}

// Takes connections as gRPC 1.51 may: reads from each until nothing comes, then keeps it.
class ReadingOn {
 public:
  explicit ReadingOn(Kept* kept) : kept_(kept) {}
  void Take(int fd) {
    char bytes[1 << 16];
    pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
    while (!let_go_ && poll(&polled, 1, /*ms=*/20) == 1) {
      if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0) break;
      send(fd, "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    kept_->Take(fd);
  }
  void LetGo() { let_go_ = true; }

 private:
  Kept* const kept_;
  std::atomic<bool> let_go_ = false;
};

// Sends to its connection without a pause, and reads the answers, until it is destroyed.
class Sender {
 public:
  explicit Sender(const Descriptor& to) : thread_([this, fd = to.get()] { Send(fd); }) {}
  ~Sender() {
    end_ = true;
    thread_.join();
  }
  size_t sent() const { return sent_; }

 private:
  void Send(int fd) {
    const std::string bytes(1u << 16, 'd');
    char answers[4096];
    while (!end_) {
      const ssize_t took = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (took > 0) sent_ += static_cast<size_t>(took);
      while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0) {
      }
    }
  }

  std::atomic<bool> end_ = false;
  std::atomic<size_t> sent_ = 0;
  std::thread thread_;
};

TEST_F(AcceptorTest, WhoSendsWithoutPauseHoldsNobodyUp) {
  ReadingOn reading(&kept_);
  // A filter of the socket makes way for the others. There is none for unix sockets.
  StartWith({.total = 3, .per_address = 3}, "127.0.0.1:0", [&](int fd) { reading.Take(fd); });
  const Descriptor busy = Connect();
  {
    const Sender sender(busy);
    ASSERT_TRUE(Eventually([&] { return sender.sent() > 1u << 20; }));
    const Descriptor other = Connect();
    EXPECT_TRUE(Holds(2));
    const size_t before = sender.sent();
    EXPECT_TRUE(Eventually([&] {
      kept_.Read(/*answer=*/false);
      return sender.sent() > before + (8u << 20);
    })) << "what was dropped is sent again, and what follows comes";
  }
  reading.LetGo();
}

TEST_F(AcceptorTest, StopEndsWhatCannotBeHandedOver) {
  const std::string path = testing::TempDir() + "/precis_acceptor_stop.sock";
  ReadingOn reading(&kept_);
  StartWith({.total = 3, .per_address = 3}, "unix:" + path, [&](int fd) { reading.Take(fd); });
  const Descriptor busy(socket(AF_UNIX, SOCK_STREAM, 0));
  const SocketAddress& to = acceptor_->local();
  ASSERT_EQ(connect(busy.get(), to.get(), to.size), 0);
  const Sender sender(busy);
  ASSERT_TRUE(Eventually([&] { return sender.sent() > 1u << 20; }));
  acceptor_->Stop();
}

TEST_F(AcceptorTest, StopGivesTheAddressBackAndKeepsConnections) {
  Start({.total = 3, .per_address = 3});
  const Descriptor client = Connect();
  ASSERT_TRUE(Holds(1));
  const std::string address = "127.0.0.1:" + std::to_string(acceptor_->port());
  acceptor_->Stop();
  EXPECT_TRUE(Listener::Open(address, "--listen").ok());
  EXPECT_EQ(kept_.size(), 1u);
  pollfd polled{.fd = client.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&polled, 1, 0), 0) << "still open";
}

TEST(ConnectionLimits, StayWellBelowTheDescriptors) {
  ServerOptions options;
  options.max_connections = 1000;
  options.max_connections_per_address = 900;
  const ConnectionLimits roomy = ChooseConnectionLimits(options, 65536);
  EXPECT_EQ(roomy.total, 1000u);
  EXPECT_EQ(roomy.per_address, 750u) << "one address never has all";
  for (const uint64_t descriptors : {70u, 128u, 256u, 1024u}) {
    const uint32_t all =
        ChooseConnectionLimits(options, descriptors).total + 2 * SidePortLimits(descriptors).total;
    EXPECT_LE(all, descriptors - 50) << descriptors;
  }
  EXPECT_GE(ChooseConnectionLimits(options, 20).total, 1u);
  options.max_unanswered_bytes = 1;
  EXPECT_GT(ChooseConnectionLimits(options, 65536).unanswered_bytes, MaxMessageBytes(options))
      << "a whole message is not too much";
}

TEST(ConnectionLimits, TheSoftLimitIsRaised) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const uint64_t raised = RaiseDescriptorLimit();
  rlimit now{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &now), 0);
  EXPECT_EQ(now.rlim_cur, raised);
  EXPECT_GT(raised, 100u);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace precis
