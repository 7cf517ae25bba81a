// The server's own port, asked as a client would, and what health says when it does not answer.
#include "server/observe/port_watch.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/port_probe.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

void ExpectNothing(const SocketAddress&) {}

Listener OpenAny() {
  auto listener = Listener::Open("127.0.0.1:0", "--listen");
  EXPECT_TRUE(listener.ok()) << listener.status();
  return *std::move(listener);
}

SocketAddress AddressOf(const TestServer& server) {
  SocketAddress out = OpenAny().local();
  const int port = std::stoi(server.address().substr(server.address().rfind(':') + 1));
  reinterpret_cast<sockaddr_in*>(&out.storage)->sin_port = htons(static_cast<uint16_t>(port));
  return out;
}

TEST(PortProbe, AServerAnswers) {
  const TestServer server;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(AskPort(AddressOf(server), false, seconds(30), ExpectNothing), OkStatus());
  }
}

TEST(PortProbe, TellsItsAddressBeforeItConnects) {
  const Listener listener = OpenAny();
  SocketAddress own;
  const Status status =
      AskPort(listener.local(), false, milliseconds(1), [&](const SocketAddress& a) {
        own = a;
        EXPECT_LT(accept(listener.sockets()[0].get(), nullptr, nullptr), 0) << "not connected yet";
      });
  EXPECT_FALSE(status.ok());
  SocketAddress peer;
  const Descriptor fd(accept(listener.sockets()[0].get(), peer.get(), &peer.size));
  ASSERT_TRUE(bool(fd));
  EXPECT_EQ(reinterpret_cast<const sockaddr_in*>(&own.storage)->sin_port,
            reinterpret_cast<const sockaddr_in*>(&peer.storage)->sin_port);
}

// As gRPC 1.51 leaves its port: the kernel connects, and nobody is there.
TEST(PortProbe, APortThatNobodyAcceptsOnDoesNotAnswer) {
  const Listener listener = OpenAny();
  for (const bool tls : {false, true}) {
    const Status status = AskPort(listener.local(), tls, milliseconds(50), ExpectNothing);
    EXPECT_THAT(std::string(status.message()), HasSubstr("no answer in time")) << tls;
  }
}

TEST(PortProbe, AClosedConnectionAndAStrangeAnswerAreNone) {
  for (const char* answer : {"", "HTTP/1.1 400 Bad Request\r\n\r\n"}) {
    const Listener listener = OpenAny();
    std::thread server([&] {
      Descriptor fd;
      EXPECT_TRUE(Eventually([&] {
        fd.Reset(accept(listener.sockets()[0].get(), nullptr, nullptr));
        return bool(fd);
      }));
      char bytes[33];
      recv(fd.get(), bytes, sizeof(bytes), MSG_WAITALL);
      send(fd.get(), answer, std::char_traits<char>::length(answer), MSG_NOSIGNAL);
    });
    EXPECT_FALSE(AskPort(listener.local(), false, seconds(30), ExpectNothing).ok()) << answer;
    server.join();
  }
}

TEST(PortProbe, AnAddressThatIsFreeRefuses) {
  Listener listener = OpenAny();
  const SocketAddress address = listener.local();
  listener.Close();
  EXPECT_THAT(std::string(AskPort(address, false, seconds(30), ExpectNothing).message()),
              HasSubstr("connecting: Connection refused"));
}

TEST(PortWatch, TwoFailuresInARowTurnHealthOffAndAnAnswerTurnsItOn) {
  ServerMetrics metrics{ModelInfo()};
  Health health(nullptr, nullptr, metrics);
  std::atomic<bool> dead{false};
  std::atomic<int> asked{0};
  {
    const PortWatch watch(
        milliseconds(1),
        [&] {
          ++asked;
          return dead ? Unavailable("dead") : OkStatus();
        },
        health, metrics);
    EXPECT_TRUE(Eventually([&] { return asked > 3; }));
    EXPECT_TRUE(health.serving());
    dead = true;
    EXPECT_TRUE(Eventually([&] { return !health.serving(); }));
    EXPECT_FALSE(metrics.healthy());
    dead = false;
    EXPECT_TRUE(Eventually([&] { return health.serving(); }));
  }
  EXPECT_TRUE(metrics.healthy());
}

TEST(PortWatch, OneFailureAloneIsNone) {
  ServerMetrics metrics{ModelInfo()};
  Health health(nullptr, nullptr, metrics);
  std::atomic<int> asked{0};
  std::atomic<bool> was_off{false};
  {
    const PortWatch watch(
        milliseconds(1),
        [&] {
          if (!health.serving()) was_off = true;
          return ++asked % 2 == 0 ? Unavailable("late") : OkStatus();
        },
        health, metrics);
    EXPECT_TRUE(Eventually([&] { return asked > 20; }));
  }
  EXPECT_FALSE(was_off);
}

}  // namespace
}  // namespace precis
