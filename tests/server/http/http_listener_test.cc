#include "server/http/http_listener.h"

#include <zlib.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/http/http_client.h"

namespace precis {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::HasSubstr;

const std::string kLong(50'000, 'x');
constexpr size_t kHugeBytes = 16 << 20;  // more than sockets hold

// Answers that say what was asked.
std::vector<HttpRoute> Routes() {
  return {{"GET", "/echo",
           [](const HttpRequest& request) {
             return HttpResponse{
                 .body = fmt::format("{} {}?{}", request.method, request.path, request.query)};
           }},
          {"GET", "/long", [](const HttpRequest&) { return HttpResponse{.body = kLong}; }},
          {"GET", "/huge",
           [](const HttpRequest&) { return HttpResponse{.body = std::string(kHugeBytes, 'y')}; }},
          {"POST", "/body",
           [](const HttpRequest& request) { return HttpResponse{.body = request.body}; }},
          {"GET", "/throws",
           [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("no"); }}};
}

// Nothing of these tests ends by a timeout unless it sets one.
HttpLimits Patient() {
  return {.max_connections = 8,
          .request_timeout = minutes(10),
          .write_timeout = minutes(10),
          .idle_timeout = minutes(10)};
}

struct Opened {
  explicit Opened(const HttpLimits& limits = Patient()) {
    auto opened = HttpListener::Open("127.0.0.1:0", limits, Routes(), [this] { ++dropped; });
    if (!opened.ok()) {
      ADD_FAILURE() << opened.status();
      std::abort();
    }
    listener = *std::move(opened);
  }
  int port() const { return listener->port(); }
  std::atomic<int> dropped{0};
  std::unique_ptr<HttpListener> listener;  // ends before what it counts in
};

std::string Unzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 16 + MAX_WBITS), Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

TEST(HttpListener, AnswersRequestAfterRequestOnOneConnection) {
  Opened opened;
  HttpClient client(opened.port());
  for (int i = 0; i < 3; ++i) {
    const HttpAnswer answer = client.Get(fmt::format("/echo?a={}", i));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, fmt::format("GET /echo?a={}", i));
    EXPECT_THAT(answer.Header("Date"), HasSubstr(" GMT"));
    EXPECT_EQ(answer.Header("Connection"), "");
  }
  EXPECT_EQ(client.Get("http://host:1/echo").body, "GET /echo?") << "as a proxy asks";
}

TEST(HttpListener, AnswersRequestsThatWereSentTogetherInTheirOrder) {
  Opened opened;
  HttpClient client(opened.port());
  std::string all;
  for (int i = 0; i < 20; ++i) all += fmt::format("GET /echo?{} HTTP/1.1\r\nHost: a\r\n\r\n", i);
  client.Send(all);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.Read().body, fmt::format("GET /echo?{}", i));
}

TEST(HttpListener, HeadIsGetWithoutTheBody) {
  Opened opened;
  HttpClient client(opened.port());
  client.Send("HEAD /long HTTP/1.1\r\nHost: a\r\n\r\n");
  const HttpAnswer answer = client.Read(/*to_head=*/true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Length"), fmt::format("{}", kLong.size()));
  EXPECT_EQ(client.Get("/echo").body, "GET /echo?") << "no body came between";
}

TEST(HttpListener, TellsUnknownPathsFromWrongMethods) {
  Opened opened;
  HttpClient client(opened.port());
  EXPECT_EQ(client.Get("/").status, 404);
  EXPECT_EQ(client.Get("/echo/").status, 404);
  client.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  HttpAnswer answer = client.Read();
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.Header("Allow"), "GET, HEAD");
  answer = client.Get("/body");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.Header("Allow"), "POST");
  EXPECT_EQ(client.Get("/throws").status, 500);
  EXPECT_EQ(client.Get("/echo").status, 200) << "on the same connection";
}

TEST(HttpListener, ClosesWhereItSaysSo) {
  Opened opened;
  HttpClient asked(opened.port());
  const HttpAnswer answer = asked.Get("/echo", "Connection: close\r\n");
  EXPECT_EQ(answer.Header("Connection"), "close");
  EXPECT_TRUE(asked.IsClosed());
  HttpClient old(opened.port());
  old.Send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.Read().body, "GET /echo?");
  EXPECT_TRUE(old.IsClosed());
}

TEST(HttpListener, RefusesWhatIsNoRequestInWords) {
  HttpLimits limits = Patient();
  limits.max_body_bytes = 10;
  Opened opened(limits);
  const std::vector<std::pair<std::string, int>> cases = {
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"GET /echo\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nA: " + std::string(9000, 'a') + "\r\n\r\n", 431},
      {"GET /echo HTTP/1.1\r\nA: " + std::string(50'000, 'a'), 431},
      {"POST /body HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413},
      {"POST /body HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n", 413},
  };
  for (const auto& [request, status] : cases) {
    HttpClient client(opened.port());
    client.Send(request);
    EXPECT_EQ(client.Read().status, status) << request.substr(0, 60);
    EXPECT_TRUE(client.IsClosed());
  }
  HttpClient client(opened.port());
  client.Send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
  EXPECT_EQ(client.Read().body, "0123456789");
}

TEST(HttpListener, CompressesForWhoAcceptsIt) {
  Opened opened;
  HttpClient client(opened.port());
  for (const char* accepted : {"gzip", "deflate, GZIP;q=0.5", "*", "br;q=1, *;q=0.1"}) {
    const HttpAnswer answer = client.Get("/long", fmt::format("Accept-Encoding: {}\r\n", accepted));
    EXPECT_EQ(answer.Header("Content-Encoding"), "gzip") << accepted;
    EXPECT_EQ(answer.Header("Vary"), "Accept-Encoding");
    EXPECT_LT(answer.body.size(), kLong.size());
    EXPECT_EQ(Unzip(answer.body), kLong);
  }
  for (const char* accepted : {"", "identity", "gzip;q=0", "gzip;q=0.000, *", "x-gzip2"}) {
    const HttpAnswer answer = client.Get("/long", fmt::format("Accept-Encoding: {}\r\n", accepted));
    EXPECT_EQ(answer.Header("Content-Encoding"), "") << accepted;
    EXPECT_EQ(answer.body, kLong);
  }
  EXPECT_EQ(client.Get("/echo", "Accept-Encoding: gzip\r\n").body, "GET /echo?") << "too short";
}

TEST(HttpListener, AsManySilentClientsAsItTakesKeepNobodyWaiting) {
  Opened opened;  // whose timeouts are of no help
  const std::vector<std::string> silences = {"", "GET /ec", "GET /echo HTTP/1.1\r\nHost: x\r\n"};
  for (const std::string& sent : silences) {
    std::vector<HttpClient> silent;
    for (size_t i = 0; i < 5 * Patient().max_connections; ++i) {
      silent.emplace_back(opened.port());
      silent.back().Send(sent);
    }
    HttpClient client(opened.port());
    EXPECT_EQ(client.Get("/echo").status, 200) << "beside those that sent '" << sent << "'";
    EXPECT_TRUE(silent.front().IsClosed()) << "the oldest made room";
  }
  EXPECT_GE(opened.dropped, static_cast<int>(4 * silences.size() * Patient().max_connections));
}

TEST(HttpListener, ClientsThatTakeNoAnswerKeepNobodyWaiting) {
  Opened opened;
  std::vector<HttpClient> deaf;
  for (size_t i = 0; i < Patient().max_connections; ++i) {
    deaf.emplace_back(opened.port(), /*receive_bytes=*/4096);
    deaf.back().Send("GET /huge HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  HttpClient client(opened.port());
  EXPECT_EQ(client.Get("/echo").status, 200);
  EXPECT_EQ(opened.dropped, 1);
}

TEST(HttpListener, WhoWorksIsNotDroppedForWhoIsSilent) {
  Opened opened;
  HttpClient working(opened.port());
  std::vector<HttpClient> silent;
  for (size_t i = 0; i < 3 * Patient().max_connections; ++i) {
    silent.emplace_back(opened.port());
    ASSERT_EQ(working.Get("/echo").status, 200);
  }
}

TEST(HttpListener, TimesOutWhoConnectsAndIsSilent) {
  HttpLimits limits = Patient();
  limits.request_timeout = milliseconds(50);
  Opened opened(limits);
  HttpClient silent(opened.port());
  EXPECT_TRUE(silent.IsClosed());
  HttpClient slow(opened.port());
  slow.Send("GET /echo HTTP/1.1\r\n");
  EXPECT_TRUE(slow.IsClosed());
  EXPECT_EQ(opened.dropped, 0);
}

TEST(HttpListener, TimesOutWhoIsIdleBetweenRequests) {
  HttpLimits limits = Patient();
  limits.idle_timeout = milliseconds(50);
  Opened opened(limits);
  HttpClient client(opened.port());
  EXPECT_EQ(client.Get("/echo").status, 200);
  EXPECT_TRUE(client.IsClosed());
}

TEST(HttpListener, TimesOutWhoTakesNoAnswer) {
  HttpLimits limits = Patient();
  limits.write_timeout = milliseconds(50);
  limits.request_timeout = std::chrono::seconds(2);
  Opened opened(limits);
  HttpClient deaf(opened.port(), /*receive_bytes=*/4096);
  deaf.Send("GET /huge HTTP/1.1\r\nHost: a\r\n\r\n");
  HttpClient silent(opened.port());
  EXPECT_TRUE(silent.IsClosed()) << "two seconds later";
  EXPECT_LT(deaf.Read().body.size(), kHugeBytes) << "it was cut";
}

TEST(HttpListener, EndsAtOnceWhateverItsClientsDo) {
  auto opened = std::make_unique<Opened>();
  std::vector<HttpClient> clients;
  for (const char* sent : {"", "GET /", "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n"}) {
    clients.emplace_back(opened->port(), 4096);
    clients.back().Send(sent);
  }
  HttpClient kept(opened->port());
  EXPECT_EQ(kept.Get("/echo").status, 200);
  const auto begin = std::chrono::steady_clock::now();
  opened.reset();
  // A slow machine takes long for anything; a timeout of the listener would be minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_TRUE(kept.IsClosed());
}

TEST(HttpListener, AnAddressThatCannotBeHadIsAnErrorThatNamesIt) {
  Opened first;
  const std::string taken = fmt::format("127.0.0.1:{}", first.port());
  for (const std::string& address : {taken, std::string("192.0.2.1:80"), std::string("nowhere"),
                                     std::string("unix:/tmp/x"), std::string("[::1:80")}) {
    const auto listener = HttpListener::Open(address, Patient(), Routes(), nullptr);
    ASSERT_FALSE(listener.ok()) << address;
    EXPECT_THAT(std::string(listener.status().message()), HasSubstr(address));
  }
}

TEST(HttpListener, TakesNamesAndIpv6) {
  const auto named = HttpListener::Open("localhost:0", Patient(), Routes(), nullptr);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(HttpClient((*named)->port()).Get("/echo").status, 200) << "by IPv4";
  const auto all = HttpListener::Open("[::]:0", Patient(), Routes(), nullptr);
  if (!all.ok()) GTEST_SKIP() << "no IPv6 here: " << all.status();
  EXPECT_EQ(HttpClient((*all)->port()).Get("/echo").status, 200) << "IPv4, too";
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(static_cast<uint16_t>((*all)->port()));
  address.sin6_addr = in6addr_loopback;
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  close(fd);
}

}  // namespace
}  // namespace precis
