// The process's own figures, under the names that Prometheus' libraries agree on (process_*), and
// what its log has lost.
//
// Owner: the metrics endpoint. Thread rule: any thread.
#pragma once

#include <optional>
#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace precis {

class ProcessCollector final : public prometheus::Collectable {
 public:
  ProcessCollector();
  // What the system does not tell is left out.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::optional<double> start_s_;  // since 1970
};

}  // namespace precis
