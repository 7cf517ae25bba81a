// One connection of the HTTP listener: request after request, each with a time to arrive and a time
// to be taken.
//
// Owner: the listener; the operation under way keeps it alive as well. Thread rule: the listener's
// one thread.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "boost/asio/ip/tcp.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/beast/http/string_body.hpp"
#include "server/http/http_message.h"

namespace precis {

class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  // What the connection reports to its listener, which outlives it.
  class Listener {
   public:
    virtual ~Listener() = default;
    // A request was read as a whole, or an answer was taken as a whole. Bytes alone do not count.
    virtual void MovedOn(HttpConnection& connection) = 0;
    virtual void Ended(HttpConnection& connection) = 0;
  };

  HttpConnection(boost::asio::ip::tcp::socket socket, const HttpLimits& limits,
                 const std::vector<HttpRoute>& routes, Listener& listener);

  void Start();
  // Ends it now, without a word to the listener.
  void Cut();

  // Its place in the listener's list.
  std::list<std::shared_ptr<HttpConnection>>::iterator place;

 private:
  using Request = boost::beast::http::string_body;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;

  void WaitForRequest(Duration timeout);
  void ReadRequest();
  void OnRequest(boost::beast::error_code error);
  void Refuse(unsigned status, const std::string& why);
  void Send(HttpResponse response, unsigned version, bool keep_alive, bool gzip, bool head);
  void OnSent(boost::beast::error_code error);
  // Says that nothing follows, and reads on for a moment: closed with unread bytes, the client
  // might never see the answer.
  void Linger();
  void ReadToEnd();
  void End();

  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  const HttpLimits& limits_;
  const std::vector<HttpRoute>& routes_;
  Listener* listener_;  // null once it has ended
  std::optional<boost::beast::http::request_parser<Request>> parser_;
  std::optional<Response> response_;
  size_t lingering_bytes_ = 0;
};

}  // namespace precis
