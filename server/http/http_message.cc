#include "server/http/http_message.h"

#include <exception>

#include "common/log.h"

namespace precis {

HttpResponse Dispatch(const std::vector<HttpRoute>& routes, const HttpRequest& request) {
  std::string allowed;
  for (const HttpRoute& route : routes) {
    if (route.path != request.path) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
      if (route.method == "GET") allowed += ", HEAD";
      continue;
    }
    try {
      return route.handler(request);
    } catch (const std::exception& error) {  // memory
      spdlog::error("http: {} {}: {}", request.method, route.path, error.what());
      return {.status = 500, .body = "the answer could not be made\n"};
    }
  }
  if (allowed.empty()) return {.status = 404, .body = "there is nothing at this path\n"};
  return {
      .status = 405, .body = "this path takes " + allowed + "\n", .headers = {{"Allow", allowed}}};
}

}  // namespace precis
