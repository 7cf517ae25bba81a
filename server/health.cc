#include "server/health.h"

namespace precis {

Health::Health(grpc::HealthCheckServiceInterface* service, ServerMetrics& metrics)
    : service_(service), metrics_(metrics) {
  MutexLock lock(mutex_);
  Tell();
}

void Health::SetDraining() {
  MutexLock lock(mutex_);
  draining_ = true;
  metrics_.SetDraining();
  Tell();
}

void Health::SetStalled(bool stalled) {
  MutexLock lock(mutex_);
  stalled_ = stalled;
  Tell();
}

bool Health::serving() const {
  MutexLock lock(mutex_);
  return !draining_ && !stalled_;
}

void Health::Tell() {
  const bool serving = !draining_ && !stalled_;
  metrics_.SetHealthy(serving);
  if (service_ == nullptr) return;
  service_->SetServingStatus("", serving);
  service_->SetServingStatus(kServiceName, serving);
  service_->SetServingStatus(kOpenInferenceServiceName, serving);
}

}  // namespace precis
