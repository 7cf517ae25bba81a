// A client in bare HTTP/2 frames, for what no gRPC client does: calls that end before their
// message, or in the middle of one. It reads nothing but the answer to its pings.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace precis {

class RawHttp2 {
 public:
  // To a port of 127.0.0.1. `window`: how much of a reply the server may send; 65535: the default.
  explicit RawHttp2(int port, uint16_t window = 65535) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const std::string initial_window_size = {0, 4, 0, 0, Byte(window, 1), Byte(window, 0)};
    Frame(kSettings, 0, 0, initial_window_size);
  }
  ~RawHttp2() { Leave(); }
  RawHttp2(const RawHttp2&) = delete;
  RawHttp2& operator=(const RawHttp2&) = delete;

  // The connection is gone, with no word before.
  void Leave() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

  // Begins a call; returns its stream. `timeout` as in grpc-timeout ("50m"); empty: none.
  uint32_t Call(std::string_view path, bool end = false, std::string_view timeout = "") {
    std::string block;
    AddHeader(":method", "POST", &block);
    AddHeader(":scheme", "http", &block);
    AddHeader(":path", path, &block);
    AddHeader(":authority", "test", &block);
    AddHeader("te", "trailers", &block);
    AddHeader("content-type", "application/grpc", &block);
    if (!timeout.empty()) AddHeader("grpc-timeout", timeout, &block);
    const uint32_t stream = next_stream_;
    next_stream_ += 2;
    Frame(kHeaders, kEndHeaders | (end ? kEndStream : 0), stream, block);
    return stream;
  }
  // The first `sent` bytes of a message and its length.
  void Message(uint32_t stream, std::string_view message, size_t sent = std::string::npos) {
    Frame(kData, sent == std::string::npos ? kEndStream : 0, stream,
          Prefix(message.size()).append(message.substr(0, sent)));
  }
  // A message after which others may come.
  void Document(uint32_t stream, std::string_view message) {
    Frame(kData, 0, stream, Prefix(message.size()).append(message));
  }
  void Cancel(uint32_t stream) {
    constexpr uint32_t kCancel = 8;
    Frame(kResetStream, 0, stream,
          std::string{Byte(kCancel, 3), Byte(kCancel, 2), Byte(kCancel, 1), Byte(kCancel, 0)});
  }
  // Returns when the server has read all that was sent.
  void Sync() {
    Frame(kPing, 0, 0, "12345678");
    while (true) {
      std::array<unsigned char, 9> head{};
      ASSERT_TRUE(Receive(reinterpret_cast<char*>(head.data()), head.size()));
      std::string payload((head[0] << 16) | (head[1] << 8) | head[2], '\0');
      ASSERT_TRUE(Receive(payload.data(), payload.size()));
      if (head[3] == kPing && (head[4] & kAck) != 0) return;
      if (head[3] == kSettings && (head[4] & kAck) == 0) Frame(kSettings, kAck, 0, "");
    }
  }

 private:
  enum : uint8_t { kData = 0, kHeaders = 1, kResetStream = 3, kSettings = 4, kPing = 6 };
  enum : uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4 };

  static std::string Prefix(size_t message_bytes) {
    const auto size = static_cast<uint32_t>(message_bytes);
    return {'\0', Byte(size, 3), Byte(size, 2), Byte(size, 1), Byte(size, 0)};
  }
  static char Byte(uint32_t value, int place) {
    return static_cast<char>((value >> (8 * place)) & 0xff);
  }
  // A literal that is not indexed, in plain ASCII.
  static void AddHeader(std::string_view name, std::string_view value, std::string* block) {
    block->push_back('\0');
    block->push_back(static_cast<char>(name.size()));
    block->append(name);
    block->push_back(static_cast<char>(value.size()));
    block->append(value);
  }
  void Frame(uint8_t kind, uint8_t flags, uint32_t stream, std::string_view payload) {
    const auto size = static_cast<uint32_t>(payload.size());
    std::string frame = {Byte(size, 2),
                         Byte(size, 1),
                         Byte(size, 0),
                         static_cast<char>(kind),
                         static_cast<char>(flags),
                         Byte(stream, 3),
                         Byte(stream, 2),
                         Byte(stream, 1),
                         Byte(stream, 0)};
    Send(frame.append(payload));
  }
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  bool Receive(char* bytes, size_t size) {
    while (size > 0) {
      const ssize_t n = recv(socket_, bytes, size, 0);
      if (n <= 0) return false;
      bytes += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  int socket_;
  uint32_t next_stream_ = 1;
};

}  // namespace precis
