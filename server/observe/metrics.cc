#include "server/observe/metrics.h"

#include "common/check.h"
#include "server/config/version.h"

namespace precis {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;

// From 1 ms by 1, 2.5, 5 and 10.
Buckets TimeBuckets() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300};
}
Buckets BatchBuckets() { return {1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 512}; }

constexpr FinishReason kFinishReasons[] = {FinishReason::kEndOfSequence, FinishReason::kLength,
                                           FinishReason::kStopString,    FinishReason::kCancelled,
                                           FinishReason::kDeadline,      FinishReason::kError};

prometheus::Histogram* AddHistogram(prometheus::Registry& registry, const char* name,
                                    const char* help, const Buckets& buckets) {
  return &BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

prometheus::Gauge* AddGauge(prometheus::Registry& registry, const char* name, const char* help,
                            const prometheus::Labels& labels = {}) {
  return &BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}

}  // namespace

const char* MethodName(Method method) {
  switch (method) {
    case Method::kSummarize:
      return "Summarize";
    case Method::kStreamSummarize:
      return "StreamSummarize";
    case Method::kSummarizeMany:
      return "SummarizeMany";
    case Method::kListModels:
      return "ListModels";
    case Method::kModelInfer:
      return "ModelInfer";
    case Method::kModelStreamInfer:
      return "ModelStreamInfer";
    case Method::kOpenInferenceInfo:
      return "OpenInferenceInfo";
    case Method::kUnknown:
      return "Unknown";
  }
  return "";
}

const char* ReloadedName(Reloaded what) {
  return what == Reloaded::kTokens ? "tokens" : "certificates";
}

bool SummarizesDocuments(Method method) {
  switch (method) {
    case Method::kSummarize:
    case Method::kStreamSummarize:
    case Method::kSummarizeMany:
    case Method::kModelInfer:
    case Method::kModelStreamInfer:
      return true;
    case Method::kListModels:
    case Method::kOpenInferenceInfo:
    case Method::kUnknown:
      break;
  }
  return false;
}

const char* FinishReasonLabel(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return "end_of_sequence";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

ServerMetrics::ServerMetrics(const ModelInfo& info)
    : registry_(std::make_shared<prometheus::Registry>()) {
  AddRequestFamilies();
  AddModelFamilies(info);
  AddReloadFamilies();
  AddConnectionFamilies();
  auto& registry = *registry_;
  step_seconds_ = AddHistogram(registry, "precis_step_seconds", "Time of one step of the engine.",
                               TimeBuckets());
  decode_batch_ = AddHistogram(registry, "precis_decode_batch_sequences",
                               "Sequences decoded by one step that decoded any.", BatchBuckets());
  queue_seconds_ =
      AddHistogram(registry, "precis_queue_seconds",
                   "Time from a request's arrival to its first encoder work.", TimeBuckets());
  first_token_seconds_ =
      AddHistogram(registry, "precis_time_to_first_token_seconds",
                   "Time from a request's submission to its first token.", TimeBuckets());
  inter_token_seconds_ = AddHistogram(registry, "precis_inter_token_seconds",
                                      "Time between two tokens of one sequence.", TimeBuckets());
  healthy_ = AddGauge(registry, "precis_healthy", "1 while the health service says SERVING.");
  draining_ = AddGauge(registry, "precis_draining", "1 since the server was asked to end.");
  watchdog_trips_ = &BuildCounter()
                         .Name("precis_watchdog_trips_total")
                         .Help("Times that the watchdog found work and no step, or a dead port.")
                         .Register(registry)
                         .Add({});
  dropped_scrapers_ =
      &BuildCounter()
           .Name("precis_metrics_connections_dropped_total")
           .Help("Connections to the metrics port that were cut off to make room for another.")
           .Register(registry)
           .Add({});
}

void ServerMetrics::AddRequestFamilies() {
  auto& requests = BuildCounter()
                       .Name("precis_requests_total")
                       .Help("Requests that ended, by method and outcome; refused ones included.")
                       .Register(*registry_);
  auto& seconds = BuildHistogram()
                      .Name("precis_request_seconds")
                      .Help("Time from a request's arrival to its outcome, by method.")
                      .Register(*registry_);
  auto& unread = BuildCounter()
                     .Name("precis_unread_calls_total")
                     .Help("Calls that were ended because their client did not read.")
                     .Register(*registry_);
  for (int m = 0; m < kNumMethods; ++m) {
    const char* method = MethodName(static_cast<Method>(m));
    requests_.emplace_back();
    for (const OutcomeRow& row : OutcomeTable()) {
      requests_.back().push_back(&requests.Add({{"method", method}, {"outcome", row.label}}));
    }
    unread_.push_back(&unread.Add({{"method", method}}));
    request_seconds_.push_back(&seconds.Add({{"method", method}}, TimeBuckets()));
  }
  auto& sequences = BuildCounter()
                        .Name("precis_sequences_total")
                        .Help("Summaries returned, by the reason they end.")
                        .Register(*registry_);
  for (const FinishReason reason : kFinishReasons) {
    PRECIS_CHECK(static_cast<size_t>(reason) == sequences_.size());
    sequences_.push_back(&sequences.Add({{"finish_reason", FinishReasonLabel(reason)}}));
  }
}

void ServerMetrics::AddModelFamilies(const ModelInfo& info) {
  AddGauge(*registry_, "precis_build_info", "1; the label says which release this is.",
           {{"version", kPrecisVersion}})
      ->Set(1);
  AddGauge(*registry_, "precis_model_info", "1; the labels say what is served.",
           {{"name", info.name},
            {"fingerprint", info.fingerprint},
            {"architecture", info.architecture},
            {"attention_variant", info.attention_variant},
            {"numerics", info.numerics},
            {"device", info.device}})
      ->Set(1);
}

void ServerMetrics::AddReloadFamilies() {
  auto& reloads = BuildCounter()
                      .Name("precis_reloads_total")
                      .Help("Times that tokens or certificates were read again.")
                      .Register(*registry_);
  auto& stale = BuildGauge()
                    .Name("precis_reload_failed")
                    .Help("1 while the files are not what is in force, because they are bad.")
                    .Register(*registry_);
  for (int i = 0; i < kNumReloaded; ++i) {
    const char* what = ReloadedName(static_cast<Reloaded>(i));
    reloads_.push_back({.ok = &reloads.Add({{"what", what}, {"outcome", "ok"}}),
                        .failed = &reloads.Add({{"what", what}, {"outcome", "failed"}}),
                        .stale = &stale.Add({{"what", what}})});
  }
  certificate_expiry_ =
      AddGauge(*registry_, "precis_certificate_expiry_timestamp_seconds",
               "When the server's certificate expires, in seconds since 1970; 0 without TLS.");
}

void ServerMetrics::AddConnectionFamilies() {
  connections_ = AddGauge(*registry_, "precis_connections", "Open connections to --listen.");
  port_answers_ =
      AddGauge(*registry_, "precis_port_answers", "1 while the server reaches itself at --listen.");
  port_answers_->Set(1);
  auto& refused =
      BuildCounter()
          .Name("precis_refused_connections_total")
          .Help("Connections to --listen that were closed at once or cut, by the reason.")
          .Register(*registry_);
  for (const char* why : {"full", "address_full", "descriptors", "flood"}) {
    refused_connections_.push_back(&refused.Add({{"reason", why}}));
  }
  PRECIS_CHECK(refused_connections_.size() == kNumRefusedConnections);
}

void ServerMetrics::OnStep(const StepObservation& step) {
  step_seconds_->Observe(step.seconds);
  if (step.decode_rows > 0) decode_batch_->Observe(step.decode_rows);
}

void ServerMetrics::OnInterTokenSeconds(double seconds) { inter_token_seconds_->Observe(seconds); }

void ServerMetrics::CountRequest(Method method, const OutcomeRow& outcome, double seconds) {
  const auto m = static_cast<size_t>(method);
  requests_[m][static_cast<size_t>(&outcome - OutcomeTable().data())]->Increment();
  request_seconds_[m]->Observe(seconds);
}

void ServerMetrics::CountUnread(Method method) {
  unread_[static_cast<size_t>(method)]->Increment();
}

void ServerMetrics::ObserveQueue(double seconds) { queue_seconds_->Observe(seconds); }

void ServerMetrics::ObserveSummary(const Summary& summary) {
  first_token_seconds_->Observe(Seconds(summary.timings.first_token));
  for (const SummaryText& sequence : summary.sequences) {
    sequences_[static_cast<size_t>(sequence.finish_reason)]->Increment();
  }
}

void ServerMetrics::SetHealthy(bool healthy) { healthy_->Set(healthy ? 1 : 0); }
void ServerMetrics::SetDraining() { draining_->Set(1); }
void ServerMetrics::CountReload(Reloaded what, bool ok) {
  const Reloads& reloads = reloads_[static_cast<size_t>(what)];
  (ok ? reloads.ok : reloads.failed)->Increment();
  reloads.stale->Set(ok ? 0 : 1);
}

void ServerMetrics::SetCertificateExpiry(int64_t seconds_since_epoch) {
  certificate_expiry_->Set(static_cast<double>(seconds_since_epoch));
}

int64_t ServerMetrics::CertificateExpiry() const {
  return static_cast<int64_t>(certificate_expiry_->Value());
}

void ServerMetrics::CountWatchdogTrip() { watchdog_trips_->Increment(); }
void ServerMetrics::CountDroppedScraper() { dropped_scrapers_->Increment(); }
void ServerMetrics::SetPortAnswers(bool answers) { port_answers_->Set(answers ? 1 : 0); }
void ServerMetrics::SetConnections(size_t open) { connections_->Set(static_cast<double>(open)); }
void ServerMetrics::CountRefusedConnection(RefusedConnection why) {
  refused_connections_[static_cast<size_t>(why)]->Increment();
}

}  // namespace precis
