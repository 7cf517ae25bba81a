// Figures that are read when Prometheus asks, as its library's families.
//
// Made by the collectors, for one scrape. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"

namespace precis {

class MetricFamilies {
 public:
  void Gauge(std::string name, std::string help, double value) {
    GaugeBy(std::move(name), std::move(help), "", {{"", value}});
  }

  // One value for each value of `label`.
  void GaugeBy(std::string name, std::string help, const std::string& label,
               const std::vector<std::pair<std::string, double>>& values) {
    prometheus::MetricFamily& family =
        Add(std::move(name), std::move(help), prometheus::MetricType::Gauge, label, values);
    for (size_t i = 0; i < values.size(); ++i) family.metric[i].gauge.value = values[i].second;
  }

  void Counter(std::string name, std::string help, double value) {
    CounterBy(std::move(name), std::move(help), "", {{"", value}});
  }

  void CounterBy(std::string name, std::string help, const std::string& label,
                 const std::vector<std::pair<std::string, double>>& values) {
    prometheus::MetricFamily& family =
        Add(std::move(name), std::move(help), prometheus::MetricType::Counter, label, values);
    for (size_t i = 0; i < values.size(); ++i) family.metric[i].counter.value = values[i].second;
  }

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::MetricFamily& Add(std::string name, std::string help, prometheus::MetricType type,
                                const std::string& label,
                                const std::vector<std::pair<std::string, double>>& values) {
    families_.push_back({std::move(name), std::move(help), type, {}});
    for (const auto& [text, value] : values) {
      prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
      if (!label.empty()) metric.label.push_back({label, text});
    }
    return families_.back();
  }

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace precis
