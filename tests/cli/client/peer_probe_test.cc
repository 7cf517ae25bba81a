#include "cli/client/peer_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "cli/base/command.h"
#include "cli/client/summarize.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/client/fake_service.h"

namespace precis::cli {
namespace {

// Accepts one connection on loopback, answers with `bytes` and hangs up.
class OneAnswer {
 public:
  explicit OneAnswer(std::string bytes) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd_, generic, size), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    EXPECT_EQ(::getsockname(fd_, generic, &size), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this, bytes = std::move(bytes)] {
      const int peer = ::accept(fd_, nullptr, nullptr);
      // A record says its length. What is left unread would reset the connection.
      unsigned char head[5];
      EXPECT_EQ(::recv(peer, head, sizeof(head), MSG_WAITALL), 5);
      EXPECT_EQ(head[0], 0x16) << "a TLS handshake";
      std::string hello(static_cast<size_t>(head[3] * 256 + head[4]), '\0');
      EXPECT_EQ(::recv(peer, hello.data(), hello.size(), MSG_WAITALL),
                static_cast<ssize_t>(hello.size()));
      EXPECT_EQ(::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size()));
      ::close(peer);
    });
  }
  ~OneAnswer() {
    thread_.join();
    ::close(fd_);
  }
  const std::string& address() const { return address_; }

 private:
  const int fd_;
  std::string address_;
  std::thread thread_;
};

TEST(PeerProbe, KnowsTlsByItsRecords) {
  const OneAnswer alert({"\x15\x03\x03\x00\x02\x02\x28", 7});
  EXPECT_EQ(AskPeer(alert.address()), PeerSpeech::kTls);
  const OneAnswer hello({"\x16\x03\x03\x00\x31", 5});
  EXPECT_EQ(AskPeer(hello.address()), PeerSpeech::kTls);
}

TEST(PeerProbe, KnowsGrpcWithoutTlsByItsSettings) {
  FakeService service;
  EXPECT_EQ(AskPeer(service.address()), PeerSpeech::kPlain);
}

TEST(PeerProbe, KnowsNothingOfOthers) {
  const OneAnswer http("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(AskPeer(http.address()), PeerSpeech::kUnknown);
  const OneAnswer silent("");
  EXPECT_EQ(AskPeer(silent.address()), PeerSpeech::kUnknown);
  EXPECT_EQ(AskPeer("unix:/nowhere"), PeerSpeech::kUnknown);
  EXPECT_EQ(AskPeer("nowhere"), PeerSpeech::kUnknown);
  EXPECT_EQ(AskPeer(""), PeerSpeech::kUnknown);
}

}  // namespace
}  // namespace precis::cli
