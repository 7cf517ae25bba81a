#include "server/http/http_connection.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string_view>
#include <utility>

#include "boost/asio/buffer.hpp"
#include "boost/beast/http/read.hpp"
#include "boost/beast/http/rfc7230.hpp"
#include "boost/beast/http/write.hpp"
#include "fmt/chrono.h"
#include "server/http/gzip.h"

namespace precis {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr size_t kReadBytes = 4096;
constexpr size_t kLeastGzipBytes = 1024;  // less is not worth it
constexpr std::chrono::seconds kLinger{1};
constexpr size_t kMaxLingeringBytes = 64 << 10;

std::string Text(beast::string_view view) { return {view.data(), view.size()}; }

bool AcceptsGzip(beast::string_view accept_encoding) {
  std::optional<bool> gzip, any;
  for (const auto& [coding, parameters] : http::ext_list{accept_encoding}) {
    bool accepted = true;
    for (const auto& [name, value] : parameters) {
      // A weight of nothing but zeros refuses.
      if (beast::iequals(name, "q")) {
        accepted = value.find_first_not_of("0.") != beast::string_view::npos;
      }
    }
    if (beast::iequals(coding, "gzip")) gzip = accepted;
    if (coding == "*") any = accepted;
  }
  return gzip.value_or(any.value_or(false));
}

// Path and query of a target: "/a?b", or "http://host/a?b" as proxies write it.
void SplitTarget(std::string_view target, HttpRequest* request) {
  if (const size_t scheme = target.find("://"); !target.starts_with('/') && scheme != target.npos) {
    const size_t path = target.find('/', scheme + 3);
    target = path == target.npos ? "/" : target.substr(path);
  }
  const size_t mark = target.find('?');
  request->path = target.substr(0, mark);
  if (mark != target.npos) request->query = target.substr(mark + 1);
}

}  // namespace

HttpConnection::HttpConnection(boost::asio::ip::tcp::socket socket, const HttpLimits& limits,
                               const std::vector<HttpRoute>& routes, Listener& listener)
    : stream_(std::move(socket)),
      buffer_(limits.max_header_bytes + limits.max_body_bytes + kReadBytes),
      limits_(limits),
      routes_(routes),
      listener_(&listener) {}

void HttpConnection::Start() { WaitForRequest(limits_.request_timeout); }

void HttpConnection::Cut() {
  listener_ = nullptr;
  stream_.close();
}

void HttpConnection::End() {
  if (listener_ == nullptr) return;
  std::exchange(listener_, nullptr)->Ended(*this);
  stream_.close();
}

void HttpConnection::WaitForRequest(Duration timeout) {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(limits_.max_header_bytes));
  parser_->body_limit(limits_.max_body_bytes);
  if (buffer_.size() > 0) {  // of a client that did not wait for the answer before
    ReadRequest();
    return;
  }
  stream_.expires_after(timeout);
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](beast::error_code error, size_t bytes) {
                            if (error) return self->End();
                            self->buffer_.commit(bytes);
                            self->ReadRequest();
                          });
}

void HttpConnection::ReadRequest() {
  stream_.expires_after(limits_.request_timeout);
  http::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](beast::error_code error, size_t) { self->OnRequest(error); });
}

void HttpConnection::OnRequest(beast::error_code error) {
  if (listener_ == nullptr) return;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refuse(431, "the header is too long\n");
  }
  if (error == http::error::body_limit) return Refuse(413, "the body is too long\n");
  if (error == http::error::end_of_stream || error == http::error::partial_message) return End();
  if (error && error.category() == http::make_error_code(http::error::bad_method).category()) {
    return Refuse(400, "this is not HTTP/1.1\n");
  }
  if (error) return End();
  listener_->MovedOn(*this);
  const auto& message = parser_->get();
  const bool head = message.method() == http::verb::head;
  HttpRequest request;
  request.method = head ? "GET" : Text(message.method_string());
  request.body = message.body();
  SplitTarget(Text(message.target()), &request);
  Send(Dispatch(routes_, request), message.version(), message.keep_alive(),
       AcceptsGzip(message[http::field::accept_encoding]), head);
}

void HttpConnection::Refuse(unsigned status, const std::string& why) {
  Send({.status = status, .body = why}, 11, /*keep_alive=*/false, /*gzip=*/false, /*head=*/false);
}

void HttpConnection::Send(HttpResponse answer, unsigned version, bool keep_alive, bool gzip,
                          bool head) {
  Response& out = response_.emplace(static_cast<http::status>(answer.status), version);
  out.set(http::field::date,
          fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(std::time(nullptr))));
  out.set(http::field::content_type, answer.content_type);
  for (const auto& [name, value] : answer.headers) out.set(name, value);
  if (answer.body.size() >= kLeastGzipBytes) {
    out.set(http::field::vary, "Accept-Encoding");
    if (std::string small = gzip ? Gzip(answer.body) : ""; !small.empty()) {
      out.set(http::field::content_encoding, "gzip");
      answer.body = std::move(small);
    }
  }
  out.body() = std::move(answer.body);
  out.keep_alive(keep_alive);
  out.prepare_payload();
  if (head) out.body().clear();  // its length has been sent
  stream_.expires_after(limits_.write_timeout);
  http::async_write(stream_, out, [self = shared_from_this()](beast::error_code error, size_t) {
    self->OnSent(error);
  });
}

void HttpConnection::OnSent(beast::error_code error) {
  if (listener_ == nullptr) return;
  if (error) return End();
  listener_->MovedOn(*this);
  if (!response_->keep_alive()) return Linger();
  response_.reset();
  WaitForRequest(limits_.idle_timeout);
}

void HttpConnection::Linger() {
  beast::error_code ignored;
  stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLinger);
  ReadToEnd();
}

void HttpConnection::ReadToEnd() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](beast::error_code error, size_t bytes) {
                            self->lingering_bytes_ += bytes;
                            if (error || self->lingering_bytes_ > kMaxLingeringBytes) {
                              return self->End();
                            }
                            self->ReadToEnd();
                          });
}

}  // namespace precis
