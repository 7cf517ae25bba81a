#include "server/observe/health.h"

namespace precis {

Health::Health(grpc::HealthCheckServiceInterface* service, grpc::HealthCheckServiceInterface* port,
               ServerMetrics& metrics)
    : service_(service), port_(port), metrics_(metrics) {
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

void Health::SetUnreachable(bool unreachable) {
  MutexLock lock(mutex_);
  unreachable_ = unreachable;
  Tell();
}

void Health::SetDeviceFailed() {
  MutexLock lock(mutex_);
  device_failed_ = true;
  Tell();
}

bool Health::serving() const {
  MutexLock lock(mutex_);
  return Serving();
}

void Health::Tell() {
  const bool serving = Serving();
  metrics_.SetHealthy(serving);
  for (grpc::HealthCheckServiceInterface* teller : {service_, port_}) {
    if (teller == nullptr) continue;
    teller->SetServingStatus("", serving);
    teller->SetServingStatus(kServiceName, serving);
    teller->SetServingStatus(kOpenInferenceServiceName, serving);
  }
}

}  // namespace precis
