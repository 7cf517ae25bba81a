// A bare client of HTTP for tests: it sends exactly what it is given, and reads what comes.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "gtest/gtest.h"

namespace precis {

struct HttpAnswer {
  int status = 0;  // 0: none came
  std::string head;
  std::string body;

  // In lower case; empty where there is none.
  std::string Header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class HttpClient {
 public:
  explicit HttpClient(int port, int receive_bytes = 0) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_bytes > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      ADD_FAILURE() << "connect: " << std::strerror(errno);
    }
  }
  HttpClient(HttpClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), unread_(std::move(other.unread_)) {}
  HttpClient(const HttpClient&) = delete;
  ~HttpClient() {
    if (fd_ >= 0) close(fd_);
  }

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the other side has closed: its answer says why
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  // One whole answer; `to_head` is one without its body.
  HttpAnswer Read(bool to_head = false) {
    HttpAnswer answer;
    size_t end = std::string::npos;
    while ((end = unread_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return answer;
    }
    answer.head = unread_.substr(0, end + 2);
    unread_.erase(0, end + 4);
    answer.status = std::stoi(answer.head.substr(answer.head.find(' ') + 1));
    const std::string length = answer.Header("Content-Length");
    const size_t size = to_head || length.empty() ? 0 : std::stoul(length);
    while (unread_.size() < size) {
      if (!More()) break;
    }
    answer.body = unread_.substr(0, size);
    unread_.erase(0, size);
    return answer;
  }
  HttpAnswer Get(const std::string& path, const std::string& headers = "") {
    Send("GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
    return Read();
  }

  // Whether the other side has closed, or closes within half a minute, without another byte.
  bool IsClosed() { return unread_.empty() && !More() && closed_; }

 private:
  bool More() {
    pollfd asked{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&asked, 1, 30'000) <= 0) return false;
    char bytes[4096];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    closed_ = got <= 0;
    if (got > 0) unread_.append(bytes, static_cast<size_t>(got));
    return got > 0;
  }

  int fd_;
  bool closed_ = false;
  std::string unread_;
};

}  // namespace precis
