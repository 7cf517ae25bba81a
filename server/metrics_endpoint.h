// The endpoint that Prometheus scrapes: GET /metrics.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "prometheus/collectable.h"
#include "server/http/http_listener.h"
#include "server/observe/metrics.h"

namespace precis {

class MetricsEndpoint {
 public:
  using Collectables = std::vector<std::shared_ptr<prometheus::Collectable>>;

  // Answers with `metrics`, with `more` (what it reads outlives the endpoint) and with the
  // process's own. The error names option and address.
  static StatusOr<std::unique_ptr<MetricsEndpoint>> Open(const std::string& address,
                                                         ServerMetrics& metrics, Collectables more);
  int port() const { return listener_->port(); }

 private:
  explicit MetricsEndpoint(std::unique_ptr<HttpListener> listener)
      : listener_(std::move(listener)) {}
  std::unique_ptr<HttpListener> listener_;
};

}  // namespace precis
