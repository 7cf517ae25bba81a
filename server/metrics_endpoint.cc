#include "server/metrics_endpoint.h"

#include <sys/resource.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "prometheus/text_serializer.h"
#include "server/observe/process_collector.h"

namespace precis {
namespace {

// A share of the process's descriptors, so that scrapers leave those of the calls alone.
constexpr rlim_t kShareOfDescriptors = 16;
constexpr rlim_t kLeastConnections = 4;

HttpLimits LimitsHere() {
  HttpLimits limits;
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    limits.max_connections =
        std::min<size_t>(limits.max_connections,
                         std::max(descriptors.rlim_cur / kShareOfDescriptors, kLeastConnections));
  }
  return limits;
}

HttpResponse Scrape(const MetricsEndpoint::Collectables& from) {
  std::vector<prometheus::MetricFamily> all;
  for (const auto& collectable : from) {
    auto families = collectable->Collect();
    std::move(families.begin(), families.end(), std::back_inserter(all));
  }
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(all)};
}

}  // namespace

StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Open(const std::string& address,
                                                                 ServerMetrics& metrics,
                                                                 Collectables more) {
  more.push_back(metrics.registry());
  more.push_back(std::make_shared<ProcessCollector>());
  auto listener = HttpListener::Open(
      address, LimitsHere(),
      {{"GET", "/metrics", [from = std::move(more)](const HttpRequest&) { return Scrape(from); }}},
      [&metrics] { metrics.CountDroppedScraper(); });
  if (!listener.ok()) return Annotate(listener.status(), "--metrics-listen");
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(*std::move(listener)));
}

}  // namespace precis
