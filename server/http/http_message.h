// A request and a response of HTTP as the code that answers sees them, and which code answers what.
//
// Made by the HTTP connections; routes by who opens a listener. Thread rule: values.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"

namespace precis {

struct HttpRequest {
  std::string method;  // "GET" for HEAD, too: its answer is made alike and sent without its body
  std::string path;    // as it was sent, without the query
  std::string query;   // what follows the '?', as it was sent
  std::string body;
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // further ones
};

// Called on the listener's one thread: it answers from memory and waits for nothing.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct HttpRoute {
  std::string method;  // GET routes answer HEAD as well
  std::string path;    // matched as a whole
  HttpHandler handler;
};

// What clients may cost.
struct HttpLimits {
  size_t max_connections = 64;  // one more takes the place of the one that moved on longest ago
  size_t max_header_bytes = 8192;
  size_t max_body_bytes = 0;
  Duration request_timeout =
      std::chrono::seconds(10);  // from connecting, or a first byte, to its end
  Duration write_timeout = std::chrono::seconds(10);  // for the client to take an answer
  Duration idle_timeout = std::chrono::minutes(2);    // between two requests of a connection
};

// The answer of the route that fits; 404 or 405 where there is none, 500 where it throws.
HttpResponse Dispatch(const std::vector<HttpRoute>& routes, const HttpRequest& request);

}  // namespace precis
