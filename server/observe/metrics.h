// What the server counts, as Prometheus reads it. Names begin with precis_ and have base units;
// labels come from closed lists, never from a request. docs/metrics.md says what each answers.
//
// Owner: the server; outlives the engine, whose step thread observes into it. Thread rule: any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/api/engine_stats.h"
#include "engine/api/model_info.h"
#include "engine/request/summarizer.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/observe/errors.h"

namespace precis {

enum class Method : uint8_t {
  kSummarize,
  kStreamSummarize,
  kSummarizeMany,
  kListModels,
  kModelInfer,
  kModelStreamInfer,
  kOpenInferenceInfo,  // the protocol's questions about server and model
  kUnknown,            // no service has it
};
inline constexpr int kNumMethods = 8;
// Whether a call, or an item of it, is a document to summarize.
bool SummarizesDocuments(Method method);
const char* MethodName(Method method);
const char* FinishReasonLabel(FinishReason reason);

// What may be read again while the server runs.
enum class Reloaded : uint8_t { kTokens, kCertificates };
inline constexpr int kNumReloaded = 2;
const char* ReloadedName(Reloaded what);

// Why a connection was closed as soon as it was made, or cut.
enum class RefusedConnection : uint8_t { kFull, kAddressFull, kDescriptors, kFlood };
inline constexpr int kNumRefusedConnections = 4;

class ServerMetrics final : public EngineObserver {
 public:
  explicit ServerMetrics(const ModelInfo& info);

  void OnStep(const StepObservation& step) override;
  void OnInterTokenSeconds(double seconds) override;

  void CountRequest(Method method, const OutcomeRow& outcome, double seconds);
  void CountUnread(Method method);
  void ObserveQueue(double seconds);
  void ObserveSummary(const Summary& summary);
  void SetHealthy(bool healthy);
  bool healthy() const { return healthy_->Value() != 0; }
  void SetDraining();
  void CountWatchdogTrip();
  void CountDroppedScraper();
  void SetPortAnswers(bool answers);
  void SetConnections(size_t open);
  void CountRefusedConnection(RefusedConnection why);
  void CountReload(Reloaded what, bool ok);
  void SetCertificateExpiry(int64_t seconds_since_epoch);
  int64_t CertificateExpiry() const;

  const std::shared_ptr<prometheus::Registry>& registry() { return registry_; }

 private:
  void AddRequestFamilies();
  void AddModelFamilies(const ModelInfo& info);
  void AddReloadFamilies();
  void AddConnectionFamilies();

  // Shared with the endpoint.
  const std::shared_ptr<prometheus::Registry> registry_;
  // By method, then by row of OutcomeTable().
  std::vector<std::vector<prometheus::Counter*>> requests_;
  std::vector<prometheus::Histogram*> request_seconds_;  // by method
  std::vector<prometheus::Counter*> unread_;             // likewise
  std::vector<prometheus::Counter*> sequences_;          // by FinishReason
  prometheus::Histogram* step_seconds_ = nullptr;
  prometheus::Histogram* decode_batch_ = nullptr;
  prometheus::Histogram* queue_seconds_ = nullptr;
  prometheus::Histogram* first_token_seconds_ = nullptr;
  prometheus::Histogram* inter_token_seconds_ = nullptr;
  prometheus::Gauge* healthy_ = nullptr;
  prometheus::Gauge* draining_ = nullptr;
  prometheus::Counter* watchdog_trips_ = nullptr;
  prometheus::Counter* dropped_scrapers_ = nullptr;
  struct Reloads {
    prometheus::Counter* ok;
    prometheus::Counter* failed;
    prometheus::Gauge* stale;
  };
  std::vector<Reloads> reloads_;  // by Reloaded
  prometheus::Gauge* certificate_expiry_ = nullptr;
  prometheus::Gauge* connections_ = nullptr;
  prometheus::Gauge* port_answers_ = nullptr;
  std::vector<prometheus::Counter*> refused_connections_;  // by RefusedConnection
};

}  // namespace precis
