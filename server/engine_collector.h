// The engine's own figures, read when Prometheus asks: nothing is copied in between.
//
// Owner: shared by the server and its metrics endpoint. Thread rule: any thread.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "server/admission/admission.h"
#include "server/admission/unread.h"

namespace precis {

class EngineCollector final : public prometheus::Collectable {
 public:
  EngineCollector(const Engine& engine, const Admission& admission, const UnreadReplies& unread)
      : engine_(engine), admission_(admission), unread_(unread) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Engine& engine_;
  const Admission& admission_;
  const UnreadReplies& unread_;
};

}  // namespace precis
